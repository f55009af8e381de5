-- Read records of tasks of another broker. With a channel: have it told when those that are missing arrive.
-- KEYS the five keys of the group, then the key of each record
-- ARGV group, channel ('' for none)
-- Returns per id: the record's hash, flat, or an empty list.
local keys, group, channel, now, results = slice(KEYS, 1, 5), ARGV[1], ARGV[2], now_ms(), {}
for item = 6, #KEYS do
  local key = KEYS[item]
  local channels, ended, ttl = unpack(fields_of(key, 'w', 'ended', 'ttl'))
  if is_readable(ended, ttl, now) then
    results[#results + 1] = (all_of(key))
  else
    if channel ~= '' then
      watch(keys, group, key, channels, channel)
      call('PEXPIRE', key, MAX_WAIT)
    end
    results[#results + 1] = {}
  end
end
return results
