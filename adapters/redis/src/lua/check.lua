-- GCRA over up to three rates, as `password_reset::limit::gcra` defines it.
--
-- A number of a script is exact up to 2^53, a moment needs 64 bits. So moments are 20 digits, taken
-- apart into two numbers of at most 11 digits; only spans, bounded by 2^52, are one.
--
-- KEYS: the limit's key
-- ARGV: now, then for each rate its emission and its burst
local HALF, LAST = 1000000000, '18446744073709551615'
local high, low = tonumber(string.sub(ARGV[1], 1, 11)), tonumber(string.sub(ARGV[1], 12))

local function ahead(moment)
  return (tonumber(string.sub(moment, 1, 11)) - high) * HALF + tonumber(string.sub(moment, 12)) - low
end

local function after(span)
  local rest = math.fmod(span, HALF)
  local above, below = high + (span - rest) / HALF, low + rest
  if below >= HALF then
    above, below = above + 1, below - HALF
  end
  local moment = string.format('%011.0f%09.0f', above, below)
  return moment > LAST and LAST or moment
end

local kept = redis.call('GET', KEYS[1])
if not kept then
  kept = string.rep('0', 60)
elseif #kept ~= 60 or not string.find(kept, '^%d+$') then
  return false
end

local wait, charged, free = 0, {}, {}
for rate = 1, 3 do
  local tat = string.sub(kept, rate * 20 - 19, rate * 20)
  local emission, burst = tonumber(ARGV[rate * 2]), tonumber(ARGV[rate * 2 + 1])
  charged[rate], free[rate] = tat, tat
  if emission then
    local grown = math.min(math.max(ahead(tat), 0), burst) + emission
    wait = math.max(wait, grown - burst)
    charged[rate] = after(grown)
    if ahead(tat) > burst then
      free[rate] = after(burst)
    end
  end
end

-- A denied use is charged nothing, and writes as much as an allowed one: otherwise its time would
-- tell that somebody was here before.
kept = table.concat(wait == 0 and charged or free)
local left = 0
for rate = 1, 3 do
  left = math.max(left, ahead(string.sub(kept, rate * 20 - 19, rate * 20)))
end
-- A minute longer, for clocks that do not agree.
left = math.min(math.ceil(left / 1000), 4503599627370) + 60000
redis.call('SET', KEYS[1], kept, 'PX', string.format('%.0f', left))
return string.format('%.0f', wait)
