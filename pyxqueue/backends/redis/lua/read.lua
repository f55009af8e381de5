-- Read records of tasks of another broker, and optionally ask to be told when those that are missing arrive.
-- KEYS the five keys of the group, then the key of each record
-- ARGV group, channel to be told on ('' for none)
-- Returns per id: the record's hash, flat, or an empty list.
local keys, group, channel, now, answers = slice(KEYS, 1, 5), ARGV[1], ARGV[2], now_ms(), {}
for item = 6, #KEYS do
  local key = KEYS[item]
  local channels, finished, lives = unpack(fields_of(key, 'w', 'ended', 'ttl'))
  finished, lives = ms(finished), ms(lives)
  if finished and lives and finished + lives > now then
    answers[#answers + 1] = (all_of(key))
  else
    if channel ~= '' then
      watch(keys, group, key, channels, channel)
      redis.call('PEXPIRE', key, MAX_WAIT)
    end
    answers[#answers + 1] = {}
  end
end
return answers
