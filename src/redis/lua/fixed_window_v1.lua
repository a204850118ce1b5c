-- Counts a request in a window that begins with the first request and lasts as long as the key lives.
-- KEYS[1] ratelimit:{identifier}
-- ARGV[1] length of the window in ms
-- RETURNS {requests in the window, this one included; ms until the window ends}
local count = redis.call('INCR', KEYS[1])
if count > 1 then
    local left = redis.call('PTTL', KEYS[1])
    if left > 0 then
        return { count, left }
    end
    -- A counter without an end (somebody persisted it) would limit for ever: give it one.
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { count, tonumber(ARGV[1]) }
