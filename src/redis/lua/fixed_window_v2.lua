-- Counts a request in one or several windows. A window begins with its first request and lasts as long as its key lives.
-- If one of them refuses, none of the others is charged. What is over the limit is counted too, but for a dear request where a
-- cheaper one may still pass.
-- Commands: 2 with one key, 4 at most with two; 3 with one key where a dear request is refused though a cheaper one may pass.
-- KEYS[i] ratelimit:{identifier}, a counter
-- ARGV[1] cost   ARGV[2i] limit of KEYS[i]   ARGV[2i+1] length of its window in ms
-- RETURNS {1 if allowed, else 0; place, from 1, of the limit that refused, or else has least left; what is left of it;
--          ms until it is whole again; ms until such a request may pass, 0 if this one may}
local cost = tonumber(ARGV[1])
local fresh, tightest, least = {}, 0, math.huge
-- A dear request looks at several counters first: to count and to take it back would be more commands.
local seen = cost > 1 and #KEYS > 1 and redis.call('MGET', unpack(KEYS))

local function charge_of(i)
    return math.min(cost, tonumber(ARGV[2 * i]))
end

local function left(i)
    local ms = redis.call('PTTL', KEYS[i])
    if ms >= 0 then
        return math.max(ms, 1)
    end
    -- A counter without an end (somebody persisted it) would limit for ever: give it one.
    redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 1])
    return tonumber(ARGV[2 * i + 1])
end

-- Refuses by KEYS[i], whose count would be `count`.
local function refuse(i, count)
    local limit, charge = tonumber(ARGV[2 * i]), charge_of(i)
    local over = count - charge >= limit
    if seen then
        count = over and redis.call('INCRBY', KEYS[i], charge) or count - charge
    else
        count = over and count or redis.call('DECRBY', KEYS[i], charge)
        for j = 1, i - 1 do
            if fresh[j] then
                redis.call('DEL', KEYS[j])
            else
                redis.call('DECRBY', KEYS[j], charge_of(j))
            end
        end
    end
    local ms = left(i)
    return { 0, i, math.max(0, limit - count), ms, ms }
end

for i = 1, #KEYS do
    local limit, charge = tonumber(ARGV[2 * i]), charge_of(i)
    local count = seen and (tonumber(seen[i]) or 0) + charge or redis.call('INCRBY', KEYS[i], charge)
    fresh[i] = count == charge
    if count > limit then
        return refuse(i, count)
    end
    if limit - count < least then
        tightest, least = i, limit - count
    end
end
for i = 1, #KEYS do
    if seen and fresh[i] then
        redis.call('SET', KEYS[i], charge_of(i), 'PX', ARGV[2 * i + 1])
    elseif seen then
        redis.call('INCRBY', KEYS[i], charge_of(i))
    elseif fresh[i] then
        redis.call('PEXPIRE', KEYS[i], ARGV[2 * i + 1])
    end
end
return { 1, tightest, least, fresh[tightest] and tonumber(ARGV[2 * tightest + 1]) or left(tightest), 0 }
