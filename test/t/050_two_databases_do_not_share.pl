# Each database with the extension has a worker, which starts with the server without anybody connecting. A hanging app of
# one database does not delay the calls of another.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my %receiver = map { $_ => Wee5Cron::Receiver->start(secret => "secret of $_") } qw(one two);
my $node = Wee5Cron::Node->start_new('main');
$node->install($_, api_url => $receiver{$_}->url, secret => "secret of $_") for qw(one two);
$node->safe_psql('postgres', 'CREATE DATABASE without');

my %pid = map { $_ => $node->wait_for_worker($_) } qw(one two);
isnt($pid{one}, $pid{two}, 'each database has its own worker');
is($node->worker_pid('without'), '', 'a database without the extension has no worker');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'"),
    1, 'there is one launcher');

# All slots of one database hang. The other database goes on.
my $hung = 300;
$node->safe_psql('one', "SELECT invoke_cron_endpoint('/hang') FROM generate_series(1, $hung)");
$receiver{one}->wait_for_requests('/hang', 256);
my $id  = $node->call('two', '/echo');
my $row = $node->finished('two', $id);
fields_are($row, { status => 'succeeded', http_status => 200 }, 'a call of one database ends while all calls of another hang');
is(($receiver{two}->requests('/echo'))[0]{bearer}, 'match', "... with its own database's secret");
is(scalar(my @strangers = $receiver{one}->requests('/echo')), 0, "... and does not reach the other database's app");
ok( $node->poll_query_until('one', <<"SQL"), 'the view worker shows 256 calls on the wire and the rest queued');
SELECT state = 'sending' AND in_flight = 256 AND queued = $hung - 256 AND pid = $pid{one}
FROM wee5_cron.worker WHERE datname = 'one'
SQL
$receiver{one}->release_for_good;
$node->wait_until_all_finished('one');
is_deeply($node->statuses('one'), { succeeded => $hung }, "the other database's calls all succeed once its app answers");
is(scalar(grep { $_->{bearer} ne 'match' } $receiver{one}->requests), 0, "... each with its own database's secret");

# The same id exists in both databases, for different calls.
fields_are($node->invocation('one', 1), { endpoint_path => '/hang' }, 'each database has its own ledger');

# After a restart with queued calls, nobody connects to either database.
$receiver{one}->hold;
$node->block_the_wire('one', $receiver{one});
$node->block_the_wire('two', $receiver{two});
$node->call($_, "/queued-in-$_") for qw(one two);
$node->restart;
$_->release_for_good for values %receiver;
for my $database (qw(one two)) {
    $receiver{$database}->wait_for_requests("/queued-in-$database");
    pass("after a restart the queue of $database is sent before any session connects to it");
}
is($node->safe_psql('postgres', <<'SQL'), '', 'no session has connected to either database');
SELECT datname, backend_type FROM pg_stat_activity WHERE datname IN ('one', 'two') AND backend_type = 'client backend'
SQL
$node->wait_until_all_finished($_) for qw(one two);

# A restart with nothing to do: the workers start all the same.
$node->restart;
ok($node->wait_for_worker($_), "$_ has a worker after a restart with an empty queue") for qw(one two);
is($node->worker_pid('without'), '', 'a database without the extension has no worker after a restart either');

$node->log_is_sane;
done_testing();
