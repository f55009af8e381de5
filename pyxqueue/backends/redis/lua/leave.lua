-- Forget a supervisor that ends, and its order.
-- KEYS supervisors, announcements, orders
-- ARGV supervisor
try_call('ZREM', KEYS[1], ARGV[1])
try_call('HDEL', KEYS[2], ARGV[1])
try_call('HDEL', KEYS[3], ARGV[1])
return 1
