-- Publish figures of the models, only when they are of a later log offset than the published ones.
-- KEYS: the `model` hash.
-- ARGV: version, then field and value in turns.
-- Returns 1 when written, 0 when the stored version is not older.
local stored = redis.call('HGET', KEYS[1], 'version')
if stored and tonumber(stored) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', unpack(ARGV))
return 1
