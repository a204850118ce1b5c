-- Opens a session: writes its record and its entry in the user's index, and ends the user's oldest sessions where it would have more
-- than it may.
-- KEYS[1] session:{sid}   KEYS[2] user_sessions:{tenant}:{user}   KEYS[3..] session:{sid} of the sessions that the index names, or none
-- ARGV[1] sealed record   ARGV[2] idle life in ms   ARGV[3] sid   ARGV[4] score in the index: the later it began, the higher
-- ARGV[5] ms that it may live at most   ARGV[6] sessions that the user may have   ARGV[7..] the sids of KEYS[3..], in their order
-- RETURNS {1, sids of the sessions that ended}; or, if one must end that is not among KEYS, {0, sids of the index}, nothing written
local named = {}
for i = 7, #ARGV do
    local key = KEYS[i - 4]
    named[ARGV[i]] = key
    -- One that has ended by its time is gone, but still in the index: it takes nobody's place.
    if redis.call('EXISTS', key) == 0 then
        redis.call('ZREM', KEYS[2], ARGV[i])
    end
end
local ended = {}
local excess = redis.call('ZCARD', KEYS[2]) + 1 - tonumber(ARGV[6])
if excess > 0 then
    ended = redis.call('ZRANGE', KEYS[2], 0, excess - 1)
    for _, sid in ipairs(ended) do
        if not named[sid] then
            return { 0, redis.call('ZRANGE', KEYS[2], 0, -1) }
        end
    end
    for _, sid in ipairs(ended) do
        redis.call('DEL', named[sid])
        redis.call('ZREM', KEYS[2], sid)
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
-- The index lives as long as any session that it names may.
if redis.call('PTTL', KEYS[2]) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return { 1, ended }
