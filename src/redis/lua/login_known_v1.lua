-- Remembers a network that an account was signed in from, before those that were remembered so far.
-- Commands: 2 (GET, SET).
-- KEYS[1] ratelimit:login_known:{account}, the digests of its networks, separated by blanks, the last one first
-- ARGV[1] digest of the network   ARGV[2] how many are remembered   ARGV[3] for how long, in ms
local networks = { ARGV[1] }
for network in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
    if network ~= ARGV[1] and #networks < tonumber(ARGV[2]) then
        networks[#networks + 1] = network
    end
end
redis.call('SET', KEYS[1], table.concat(networks, ' '), 'PX', ARGV[3])
return 1
