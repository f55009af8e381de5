-- Give a supervisor an order, and wake it.
-- KEYS supervisors, announcements, orders, the delayed set of the group: supervisors listen on a channel of its name
-- ARGV supervisor, the kind of the order
-- Returns 1, or 0 if the supervisor was not heard of in the time that it had said.
local supervisors, announcements, orders, delayed = unpack(KEYS)
local supervisor, kind = unpack(ARGV)
local seen, said = try_call('ZSCORE', supervisors, supervisor), try_call('HGET', announcements, supervisor)
local keep = type(said) == 'string' and string.match(said, '^(%d+) ')
if type(seen) ~= 'string' or not keep or #keep > 15 then return 0 end
if now_ms() >= tonumber(seen) + tonumber(keep) then return 0 end
if type(try_call('HLEN', orders)) == 'table' then call('DEL', orders) end -- another program has put it there
local last = string.match(call('HGET', orders, supervisor) or '', '^(%d+) ')
local number = last and #last <= 15 and tonumber(last) + 1 or 1
call('HSET', orders, supervisor, int(number) .. ' ' .. kind)
publish(delayed, 'order')
return 1
