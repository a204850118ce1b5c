-- Takes tokens from one or several buckets that fill up steadily (GCRA: all that is kept is when a bucket is full again). If one
-- of them refuses, nothing is taken from any; of several that refuse, that with the longest wait answers.
-- Commands: 1 (MGET), and 1 a key if allowed.
-- KEYS[i] ratelimit:{identifier}:token_bucket, when it is full, in µs since 1970
-- ARGV[1] tokens to take   ARGV[2i] size of KEYS[i]   ARGV[2i+1] µs in which it regains a token
-- ARGV[2n+2] now, in µs since 1970, by the server's clock as the caller knows it; that it may be told a little late, or out of
-- order, only makes the script see a bucket as a little less full. One that would be full a minute later than if it were empty
-- now is of a clock that was set back since, or of a larger size, and is forgotten
-- RETURNS {1 if allowed, else 0; place, from 1, of the bucket that refused, or else has least left; tokens left in it;
--          ms until it is full; ms until such a request may pass, 0 if this one may}
local cost, now = tonumber(ARGV[1]), tonumber(ARGV[2 * #KEYS + 2])

-- Division that is exact on whole numbers below 2^53: a rounded quotient might be the next whole number.
local function floor_div(a, b)
    return (a - math.fmod(a, b)) / b
end

local function millis(micros)
    return floor_div(micros + 999, 1000)
end

local values = redis.call('MGET', unpack(KEYS))
local full, tightest, least = {}, 0, math.huge
local refusal, longest = nil, 0

for i = 1, #KEYS do
    local limit, interval = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local charge = math.min(cost, limit)
    local empty_at = now + limit * interval
    local full_at = math.max(tonumber(values[i] or now) or now, now)
    if full_at > empty_at + 60000000 then
        full_at = now
    end
    full[i] = full_at + charge * interval
    local wait = millis(math.max(0, full[i] - empty_at))
    if wait > longest then
        refusal, longest = { 0, i, floor_div(math.max(0, empty_at - full_at), interval), millis(full_at - now), wait }, wait
    end
    local remaining = floor_div(empty_at - full[i], interval)
    if remaining < least then
        tightest, least = i, remaining
    end
end
if refusal then
    return refusal
end

for i = 1, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.0f', full[i]), 'PX', millis(full[i] - now))
end
return { 1, tightest, least, millis(full[tightest] - now), 0 }
