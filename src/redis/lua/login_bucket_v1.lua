-- Stands before the script of a rate limit whose last limit is that of an account that somebody tries to log in to. Attempts from a
-- network that the account was signed in from before are counted by themselves: the last limit is that of the network then.
-- Commands: 1 (GET), and those of the script.
-- KEYS, as the script has them, and two more:
--   KEYS[#KEYS-1] ratelimit:login_known:{account}, the digests of its networks, separated by blanks
--   KEYS[#KEYS] ratelimit:login:{account}:{network}, counted in place of the last limit
-- ARGV[1] digest of the network, then ARGV as the script has them
local KEYS, ARGV = (function(keys, args)
    local known = redis.call('GET', keys[#keys - 1]) or ''
    local limits, numbers = {}, {}
    for i = 1, #keys - 2 do
        limits[i] = keys[i]
    end
    if string.find(known, args[1], 1, true) then
        limits[#limits] = keys[#keys]
    end
    for i = 2, #args do
        numbers[i - 1] = args[i]
    end
    return limits, numbers
end)(KEYS, ARGV)

