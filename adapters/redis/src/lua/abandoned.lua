-- State::take_over on the records that are due, the longest overdue first.
--
-- KEYS: what the sweep looks at
-- ARGV: now, until, claim, at most, prefix of records, then the names of the fields to answer
local due = KEYS[1]
local now, till, claim, most, records = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local found = {}
local last = '[' .. now .. string.rep('\255', 17)
for _, member in ipairs(redis.call('ZRANGEBYLEX', due, '-', last, 'LIMIT', 0, most)) do
  local selector = string.sub(member, 21)
  local key = records .. selector
  redis.call('ZREM', due, member)
  -- A record that somebody deleted by hand must not stand in the way of the others.
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'claim', claim, 'until', till)
    redis.call('ZADD', due, 0, till .. selector)
    found[#found + 1] = { selector, redis.call('HMGET', key, unpack(ARGV, 6)) }
  end
end
return found
