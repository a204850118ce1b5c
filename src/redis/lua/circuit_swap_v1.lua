-- Replaces the value of a circuit if it is the one that the caller expects; looks only, where there is no new value. What a circuit
-- becomes is worked out by the caller, who also authenticates the value: a key must not be known to Redis.
-- Commands: 1 (GET), 1 if it is replaced (SET), at most 3 more where it is put on the list, 1 where it is taken off.
-- KEYS[1] circuit:{service}
-- KEYS[2] circuits, the services whose circuit is not closed; 10,000 at most
-- ARGV[1] value expected, empty for none   ARGV[2] new value, empty to look only   ARGV[3] ms that it is kept
-- ARGV[4] the service   ARGV[5] 1 to put it on the list, 0 to take it off, else neither
-- RETURNS {1, ''} if it was as expected; else {0, the value that is there, empty for none}
local value = redis.pcall('GET', KEYS[1])
-- Nothing, or, of a type that servers never write, a table.
if type(value) ~= 'string' then
    value = ''
end
if value ~= ARGV[1] then
    return { 0, value }
end
if ARGV[2] ~= '' then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    if ARGV[5] == '1' then
        -- The list of them lives as long as the youngest of them, and has a bound.
        if redis.call('ZADD', KEYS[2], 0, ARGV[4]) == 1 then
            redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -10001)
        end
        redis.call('PEXPIRE', KEYS[2], ARGV[3])
    elseif ARGV[5] == '0' then
        redis.call('ZREM', KEYS[2], ARGV[4])
    end
end
return { 1, '' }
