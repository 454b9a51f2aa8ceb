-- Read one field of many hashes: one reply for many keys costs the client a tenth of one reply per key.
-- KEYS: n hashes.
-- ARGV: the field.
-- Returns n values, '' where there is none.
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HGET', KEYS[i], ARGV[1]) or '' end
return found
