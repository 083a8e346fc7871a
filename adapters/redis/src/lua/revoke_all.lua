-- State::revoke on every open record of one user that is within reach.
--
-- KEYS: the user's open records
-- ARGV: moment, why, the credential's half of the epoch or nothing, prefix of records
local open, credential = KEYS[1], ARGV[3]

local revoked = 0
for _, member in ipairs(redis.call('ZRANGE', open, 0, -1)) do
  local key = ARGV[4] .. string.sub(member, 21)
  local epoch = redis.call('HGET', key, 'epoch')
  if not epoch then
    redis.call('ZREM', open, member)
  elseif credential == '' or string.sub(epoch, 1, 16) == credential then
    -- First what frees memory, see `revoke.lua`.
    redis.call('ZREM', open, member)
    redis.call('HSET', key, 'revoked', ARGV[1], 'why', ARGV[2])
    revoked = revoked + 1
  end
end
return revoked
