-- Replace a field of a hash, unless somebody changed it meanwhile.
-- KEYS: the hash.
-- ARGV: the field; its value as it was read; its new value.
-- Returns 1 when replaced, 0 when it holds another value.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
