-- Read whole user hashes: one reply for many keys costs the client a tenth of one reply per key.
-- KEYS: n user hashes.
-- Returns n arrays of field and value in turns, empty for an unknown user.
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
