-- Makes a new job of a dead letter, once.
--
-- KEYS: the dead letter, the new job, jobs by the moment at which they may be leased, dead letters
-- ARGV: the dead letter's id, the new id, due
local at, task = unpack(redis.call('HMGET', KEYS[1], 'dead', 'task'))
if not at or not task then
  return 'none'
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 'taken'
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[4], at .. ARGV[1])
redis.call('HSET', KEYS[2], 'due', ARGV[3], 'next', ARGV[3], 'attempt', '0', 'task', task)
redis.call('ZADD', KEYS[3], 0, ARGV[3] .. ARGV[2])
return 'done'
