-- How many jobs are due, how many there are, and how many were given up.
--
-- KEYS: jobs by the moment at which they may be leased, dead letters
-- ARGV: now
local last = '[' .. ARGV[1] .. string.rep('\255', 17)
return {
  redis.call('ZLEXCOUNT', KEYS[1], '-', last),
  redis.call('ZCARD', KEYS[1]),
  redis.call('ZCARD', KEYS[2]),
}
