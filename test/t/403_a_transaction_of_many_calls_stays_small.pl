# However many calls a transaction makes, its session needs no more memory and no more locks than after the first ones.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->policy('postgres', '/skips', overlap => 'skip');

my %ways = (
    'one by one' => q{DO $$ BEGIN FOR i IN 1 .. %d LOOP PERFORM invoke_cron_endpoint('/loop'); END LOOP; END $$},
    'in one statement' => q{SELECT count(invoke_cron_endpoint('/set/' || n)) FROM generate_series(1, %d) n},
    'with bodies'      => q{SELECT count(wee5_cron.invoke('/body', 'POST', jsonb_build_object('n', n), '{"X-Mine": "yes"}', '5 s')) FROM generate_series(1, %d) n},
    'of a path that gives way to a call before' => q{SET client_min_messages = warning; SELECT count(invoke_cron_endpoint('/skips')) FROM generate_series(1, %d) n},
);

for my $way (sort keys %ways) {
    my $session = $node->background_psql('postgres');
    my $size    = sub {
        my ($memory, $locks) = split /\|/, $session->query_safe(<<'SQL');
SELECT (SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name <> 'MessageContext'),
       (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype NOT IN ('transactionid', 'virtualxid'))
SQL
        return ($memory, $locks);
    };
    $session->query_safe('BEGIN');
    for my $count (500, 500) {
        $session->query_safe(sprintf $ways{$way}, $count);
        $size->();
    }
    my ($memory, $locks) = $size->();
    $session->query_safe(sprintf $ways{$way}, 10_000);
    my ($memory_after, $locks_after) = $size->();
    # One byte per call would be more.
    cmp_ok($memory_after - $memory, '<', 9_000, "$way: ten thousand more calls take no more memory");
    is($locks_after, $locks, '... and no more locks');
    $session->query_safe('ROLLBACK');
    $session->quit;
}

$node->log_is_sane;
done_testing();
