-- Deletes old dead letters: those that were given up first.
--
-- KEYS: dead letters
-- ARGV: given up before, how many to look at, prefix of jobs
local seen, removed = 0, 0
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], '-', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])) do
  seen = seen + 1
  removed = removed + redis.call('DEL', ARGV[3] .. string.sub(member, 21))
  redis.call('ZREM', KEYS[1], member)
end
return { seen, removed }
