-- Lets something happen to a circuit. Needs no clock: how long ago the value was written is what is gone of its key's life, so
-- servers whose clocks differ agree on every time. Commands: 2 (GET, PTTL), 1 if something changes, 1 if it closes,
-- at most 3 if it is not closed then.
-- KEYS[1] circuit:{service}, "phase:generation:failures in a row:successes of probes:times opened in a row:ms until it may be
--         probed:ms that the key was given to live:probes under way as lease=ms, each with a comma behind it"
-- KEYS[2] circuits, the services whose circuit is not closed; 10,000 at most
-- ARGV[1] peek, acquire, calls, probe_succeeded, probe_failed, probe_dropped or reset
-- ARGV[2] generation that the caller last saw   ARGV[3] failures that open   ARGV[4] successes that close
-- ARGV[5] ms that it is open first   ARGV[6] thousandths longer if it opens now   ARGV[7] ms that the value is kept
-- ARGV[8] most probes under way   ARGV[9] the service
-- ARGV[10] acquire, probe_*: lease; calls: 1 if one succeeded, else 0   ARGV[11] acquire: ms of the lease; calls: failures after it
-- RETURNS {1 if the caller may call, else 0; phase 0 closed, 1 open, 2 half-open; generation; failures; successes; times opened;
--          ms until asking to probe may help}
local op, seen = ARGV[1], tonumber(ARGV[2])
local open_after, close_after = tonumber(ARGV[3]), tonumber(ARGV[4])
local phase, generation, failures, successes, opens, left, leases
local acquire, probe = op == 'acquire', string.sub(op, 1, 6) == 'probe_'

local value, ttl = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if value and ttl >= 0 then
    local life, rest
    phase, generation, failures, successes, opens, left, life, rest =
        string.match(value, '^([%a_]+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(.*)$')
    if phase then
        generation, failures, successes, opens = tonumber(generation), tonumber(failures), tonumber(successes), tonumber(opens)
        local gone = math.max(0, tonumber(life) - ttl)
        left, leases = math.max(0, tonumber(left) - gone), {}
        for lease, ms in string.gmatch(rest, '(%d+)=(%d+),') do
            leases[#leases + 1] = { lease, math.max(0, tonumber(ms) - gone) }
        end
    end
end
-- Whoever has seen a later generation knows more: it was forgotten here.
local forgotten = not phase or generation < seen
if forgotten then
    phase = (acquire or probe) and 'half_open' or 'closed'
    generation, failures, successes, opens, left, leases = seen, 0, 0, 0, 0, {}
end
local before, changed, admitted = phase, false, false

local function become(new)
    phase, generation, failures, successes, left, leases = new, generation + 1, 0, 0, 0, {}
    changed = true
end

local function open()
    become('open')
    opens = math.min(opens + 1, 5)
    local ms = tonumber(ARGV[5]) * math.min(2 ^ (opens - 1), 10) * (1000 + tonumber(ARGV[6]))
    -- Division that is exact on whole numbers below 2^53.
    left = (ms - math.fmod(ms, 1000)) / 1000
end

local function close()
    become('closed')
    opens = 0
end

local function keep(condition)
    local kept = {}
    for _, lease in ipairs(leases) do
        if condition(lease) then
            kept[#kept + 1] = lease
        end
    end
    local fewer = #kept < #leases
    leases = kept
    return fewer
end

if acquire then
    if forgotten or (phase == 'open' and left == 0) then
        become('half_open')
    end
    if phase == 'closed' then
        admitted = true
    elseif phase == 'half_open' then
        changed = keep(function(lease) return lease[2] > 0 end) or changed
        if #leases < math.min(close_after - successes, tonumber(ARGV[8])) then
            leases[#leases + 1] = { ARGV[10], tonumber(ARGV[11]) }
            admitted, changed = true, true
        end
    end
elseif op == 'calls' and phase == 'closed' and generation == seen then
    local count = (ARGV[10] == '1' and 0 or failures) + tonumber(ARGV[11])
    changed = count ~= failures
    failures = count
    if failures >= open_after then
        open()
    end
elseif probe and phase == 'half_open' and generation == seen then
    local fewer = keep(function(lease) return lease[1] ~= ARGV[10] end)
    if op == 'probe_succeeded' then
        successes = successes + 1
        changed = true
        if successes >= close_after then
            close()
        end
    elseif op == 'probe_failed' then
        open()
    else
        changed = fewer
    end
elseif op == 'reset' then
    close()
end

if changed then
    local under_way = {}
    for _, lease in ipairs(leases) do
        under_way[#under_way + 1] = string.format('%s=%.0f,', lease[1], lease[2])
    end
    local numbers = string.format('%.0f:%.0f:%.0f:%.0f:%.0f', generation, failures, successes, opens, left)
    local text = phase .. ':' .. numbers .. ':' .. ARGV[7] .. ':' .. table.concat(under_way)
    redis.call('SET', KEYS[1], text, 'PX', ARGV[7])
    if phase ~= 'closed' then
        -- The list of them lives as long as the youngest of them, and has a bound.
        if redis.call('ZADD', KEYS[2], 0, ARGV[9]) == 1 then
            redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -10001)
        end
        redis.call('PEXPIRE', KEYS[2], ARGV[7])
    elseif before ~= 'closed' or op == 'reset' then
        redis.call('ZREM', KEYS[2], ARGV[9])
    end
end

local wait = left
if phase == 'half_open' then
    wait = 0
    for place, lease in ipairs(leases) do
        wait = place == 1 and lease[2] or math.min(wait, lease[2])
    end
end
local phases = { closed = 0, open = 1, half_open = 2 }
return { admitted and 1 or 0, phases[phase], generation, failures, successes, opens, wait }
