-- One more try, as often as it is called; stays at the largest number of 32 bits.
--
-- KEYS: the record
local tries = tonumber(redis.call('HGET', KEYS[1], 'attempts') or nil)
if not tries then
  return false
end
tries = string.format('%.0f', math.min(tries + 1, 4294967295))
redis.call('HSET', KEYS[1], 'attempts', tries)
return tries
