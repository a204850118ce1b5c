-- Opens a session: writes its record and its entry in the user's index, and clears the index of sessions past their end.
-- KEYS[1] session:{sid}   KEYS[2] user_sessions:{tenant}:{user}
-- ARGV[1] sealed record   ARGV[2] idle life in ms   ARGV[3] sid   ARGV[4] absolute end, ms since 1970   ARGV[5] now, ms since 1970
-- RETURNS 1
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
-- The index lives as long as its youngest session may.
redis.call('PEXPIREAT', KEYS[2], ARGV[4])
return 1
