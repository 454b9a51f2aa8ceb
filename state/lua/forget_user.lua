-- Delete the hash of a user who was forgotten, where a writer that had not heard of it wrote it once more.
-- KEYS: the user hash.
-- ARGV: partition; offset of the event by which the user was forgotten.
-- Returns 1 when deleted; 0 when there is none, or it is of that event or a later one: a refusal, or a user who came back.
local at = redis.call('HGET', KEYS[1], 'at:' .. ARGV[1])
if not at or tonumber(at) >= tonumber(ARGV[2]) then return 0 end
return redis.call('DEL', KEYS[1])
