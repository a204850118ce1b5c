-- Counts a request in one or several sliding windows. A window begins with its first request; of the one before it, as much
-- counts as still lies within the last window's length. If one of them refuses, none is charged; of several that refuse, that
-- with the longest wait answers.
-- Commands: 1 (MGET), and 1 a key if allowed.
-- KEYS[i] ratelimit:{identifier}:sliding_window, "start of the window in ms:requests in it:requests in the one before"
-- ARGV[1] cost   ARGV[2i] limit of KEYS[i]   ARGV[2i+1] length of its window in ms
-- ARGV[2n+2] now, in µs since 1970, by the server's clock as the caller knows it; that it may be told a little late, or out of
-- order, only makes the script take a window for a little younger. Windows that begin further ahead than a window's length are
-- of a clock that was set back since, and are forgotten
-- RETURNS {1 if allowed, else 0; place, from 1, of the limit that refused, or else has least left; what is left of it;
--          ms until it is whole again; ms until such a request may pass, 0 if this one may}
local cost, now = tonumber(ARGV[1]), tonumber(ARGV[2 * #KEYS + 2])

-- Division that is exact on whole numbers below 2^53: a rounded quotient might be the next whole number.
local function floor_div(a, b)
    return (a - math.fmod(a, b)) / b
end

now = floor_div(now, 1000)
local values = redis.call('MGET', unpack(KEYS))
local states, lives, tightest, least, reset = {}, {}, 0, math.huge, 0
local refusal, longest = nil, 0

for i = 1, #KEYS do
    local limit, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
    local charge = math.min(cost, limit)
    local start, current, previous = string.match(values[i] or '', '^(%d+):(%d+):(%d+)$')
    start, current, previous = tonumber(start), tonumber(current), tonumber(previous)
    if not start or now >= start + 2 * window or start > now + window then
        start, current, previous = now, 0, 0
    elseif now >= start + window then
        start, current, previous = start + window, 0, current
    end
    local left = start + window - now
    -- In requests times ms, so that nothing is rounded.
    local free = math.max(0, limit * window - previous * math.min(left, window) - current * window)
    if free < charge * window then
        local wait
        if current + charge <= limit then
            wait = left - floor_div((limit - current - charge) * window, previous)
        else
            wait = left + math.max(0, window - floor_div((limit - charge) * window, current))
        end
        if wait > longest then
            local forgotten = current > 0 and left + window or left
            refusal, longest = { 0, i, floor_div(free, window), forgotten, wait }, wait
        end
    end
    states[i] = string.format('%.0f:%.0f:%.0f', start, current + charge, previous)
    lives[i] = left + window
    local remaining = floor_div(free, window) - charge
    if remaining < least then
        tightest, least, reset = i, remaining, lives[i]
    end
end
if refusal then
    return refusal
end

for i = 1, #KEYS do
    redis.call('SET', KEYS[i], states[i], 'PX', lives[i])
end
return { 1, tightest, least, reset, 0 }
