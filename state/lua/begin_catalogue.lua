-- Begin the catalogue's mark anew, in one step: half of it would say that the old entries are the new topic's.
-- KEYS: the `catalogue` hash.
-- ARGV: incarnation, how often the topic was recreated.
-- Returns 1.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'incarnation', ARGV[1])
return 1
