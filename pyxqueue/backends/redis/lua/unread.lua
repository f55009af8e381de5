-- Take back what a claim has read beyond its limit, as if it had not been read: the entries keep their places.
-- KEYS the seven keys of the group
-- ARGV group, then for each stream of which too much was read: place, the last entry that is kept, or one before the
--   first that is not, number of entries, entries
-- Returns the entries that could not be taken back, since another consumer has read on meanwhile.
local group, arg, left = ARGV[1], 2, {}
while arg <= #ARGV do
  local stream, before, count = KEYS[PLACES[ARGV[arg]]], ARGV[arg + 1], tonumber(ARGV[arg + 2])
  local last = ARGV[arg + 2 + count]
  for _, info in ipairs(call('XINFO', 'GROUPS', stream)) do
    if field(info, 'name') == group then
      if field(info, 'last-delivered-id') == last then
        call('XACK', stream, group, unpack(ARGV, arg + 3, arg + 2 + count))
        call('XGROUP', 'SETID', stream, group, before)
      else
        for i = arg + 3, arg + 2 + count do left[#left + 1] = ARGV[arg] .. ARGV[i] end
      end
    end
  end
  arg = arg + 3 + count
end
return left
