-- Dead letters, those that were given up first.
--
-- KEYS: dead letters
-- ARGV: at most, prefix of jobs
local found = {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], '-', '+', 'LIMIT', 0, ARGV[1])) do
  local id = string.sub(member, 21)
  local letter = redis.call('HMGET', ARGV[2] .. id, 'dead', 'attempt', 'task')
  if letter[1] then
    found[#found + 1] = { id, letter[1], letter[2], letter[3] }
  end
end
return found
