-- Whether a record is stored, and which older ones give way: TokenStore::insert.
--
-- KEYS: the record, its user's open records, what the purge may take, what the sweep looks at
-- ARGV: selector, issued, expires, time to live, rule, places, open, held since, why,
--       prefix of records, then the record's fields and values
local record, open, purgeable, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local selector, issued, expires, keep = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local rule, places, is_open, held = ARGV[5], tonumber(ARGV[6]), ARGV[7], ARGV[8]
local why, records = ARGV[9], ARGV[10]

if redis.call('EXISTS', record) == 1 then
  return 'taken'
end

-- Live is what is open and expires later than this record is issued.
local after = '(' .. issued .. string.rep('\255', 17)
if rule == 'at-most' then
  if redis.call('ZLEXCOUNT', open, after, '+') >= places then
    return 'full'
  end
else
  local others = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', open, after, '+')) do
    local key = records .. string.sub(member, 21)
    local made = redis.call('HGET', key, 'issued')
    if made then
      others[#others + 1] = { made, key, member }
    end
  end
  table.sort(others, function(a, b) return a[1] > b[1] end)
  -- Newest first; the new record takes one of the places.
  for i = places, #others do
    redis.call('HSET', others[i][2], 'revoked', issued, 'why', why)
    redis.call('ZREM', open, others[i][3])
  end
end

-- Entries whose record went at the end of its time to live: two for each that comes, so that they
-- cannot pile up.
for _, index in ipairs({ open, purgeable }) do
  for _, member in ipairs(redis.call('ZRANGE', index, 0, 1)) do
    if redis.call('EXISTS', records .. string.sub(member, 21)) == 0 then
      redis.call('ZREM', index, member)
    end
  end
end

redis.call('HSET', record, unpack(ARGV, 11))
local left = redis.call('PTTL', open)
if is_open == '1' then
  redis.call('ZADD', open, 0, expires .. selector)
end
if held == '' then
  redis.call('ZADD', purgeable, 0, expires .. selector)
  redis.call('PEXPIRE', record, keep)
  -- -2: there was no such key; -1: somebody holds one of the records, and it must stay.
  if left == -2 or (left >= 0 and left < keep) then
    redis.call('PEXPIRE', open, keep)
  end
else
  redis.call('ZADD', due, 0, held .. selector)
  redis.call('PERSIST', open)
end
return 'done'
