-- Replace the trending items in one step, so that no reader sees half of them.
-- KEYS: the `trending` sorted set.
-- ARGV: count and item id in turns.
-- Returns the number of items.
redis.call('DEL', KEYS[1])
for a = 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[a], ARGV[a + 1]) end
return #ARGV / 2
