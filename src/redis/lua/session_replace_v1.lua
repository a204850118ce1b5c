-- Gives a living session another record, and leaves its life as it is. Does nothing if it does not live.
-- It reads by GETEX, which Redis counts as a write that takes no memory: after it, a Redis whose memory is full (noeviction) lets the
-- script write, so that sessions in use go on. The record that is replaced is as long as the new one.
-- KEYS[1] session:{sid}
-- ARGV[1] sealed record
-- RETURNS 1 if it was replaced, else 0
if not redis.call('GETEX', KEYS[1]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'XX', 'KEEPTTL')
return 1
