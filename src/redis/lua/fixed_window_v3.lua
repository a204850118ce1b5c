-- Counts a request in one or several windows. A window begins with its first request and lasts as long as its key lives, but
-- never longer than a window: a key's end is a time of day, which a clock that is set back puts off.
-- The first that refuses answers, and none of the others is charged. What is over the limit is counted too, but for a dear
-- request where a cheaper one may still pass.
-- Commands: 2 with one key, 3 where a dear request is refused though a cheaper one may pass; 4 at most with two keys, 6 with
-- three; 1 more where a window's end is put right.
-- KEYS[i] ratelimit:{identifier}, a counter
-- ARGV[1] cost   ARGV[2i] limit of KEYS[i]   ARGV[2i+1] length of its window in ms
-- RETURNS {1 if allowed, else 0; place, from 1, of the limit that refused, or else has least left; what is left of it;
--          ms until it is whole again; ms until such a request may pass, 0 if this one may}
local cost = tonumber(ARGV[1])
-- The limit that answers, what it says, and whether its window begins now.
local place, allowed, remaining, begins = 1, true, math.huge, false

if #KEYS == 1 and cost == 1 then
    -- By far most requests: as few steps as can be.
    local count = redis.call('INCRBY', KEYS[1], ARGV[1])
    remaining, begins = tonumber(ARGV[2]) - count, count == 1
    if begins then
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
    elseif remaining < 0 then
        allowed, remaining = false, 0
    end
else
    -- A dear request looks at several counters first: to count and to take it back would be more commands.
    local seen = cost > 1 and #KEYS > 1 and redis.call('MGET', unpack(KEYS))
    local charges, fresh = {}, {}
    for i = 1, #KEYS do
        local limit = tonumber(ARGV[2 * i])
        local charge = math.min(cost, limit)
        local count = seen and (tonumber(seen[i]) or 0) + charge or redis.call('INCRBY', KEYS[i], charge)
        charges[i], fresh[i] = charge, count == charge
        if count > limit then
            place, allowed, remaining = i, false, math.max(0, limit - (count - charge))
            break
        elseif limit - count < remaining then
            place, remaining = i, limit - count
        end
    end
    if not allowed then
        -- Is it over the limit, or only too dear?
        local over = remaining == 0
        if seen and over then
            redis.call('INCRBY', KEYS[place], charges[place])
        elseif not seen and not over then
            redis.call('DECRBY', KEYS[place], charges[place])
        end
        for i = 1, seen and 0 or place - 1 do
            if fresh[i] then
                redis.call('DEL', KEYS[i])
            else
                redis.call('DECRBY', KEYS[i], charges[i])
            end
        end
    else
        begins = fresh[place]
        for i = 1, #KEYS do
            if seen and fresh[i] then
                redis.call('SET', KEYS[i], charges[i], 'PX', ARGV[2 * i + 1])
            elseif seen then
                redis.call('INCRBY', KEYS[i], charges[i])
            elseif fresh[i] then
                redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 1])
            end
        end
    end
end

local window = tonumber(ARGV[2 * place + 1])
local left = begins and window or redis.call('PTTL', KEYS[place])
if left < 0 or left > window then
    -- Without an end (somebody persisted it), or with one too far off, a counter would limit for as long.
    redis.call('PEXPIRE', KEYS[place], window)
    left = window
end
left = math.max(left, 1)
return { allowed and 1 or 0, place, remaining, left, allowed and 0 or left }
