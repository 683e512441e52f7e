# One path takes all slots and has a hundred more calls: other paths do not wait behind them, and the hundred are sent when no
# other path waits.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'wee5_cron.max_in_flight = 4');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# The unanswered requests, oldest first.
my %answered;

sub on_the_wire {
    return grep { !$answered{ $_->{number} } } $receiver->requests;
}

# Answers the oldest request, and returns the path of the request that takes its place.
sub next_after_an_answer {
    my ($oldest) = on_the_wire();
    my $seen = () = $receiver->requests;
    $answered{ $oldest->{number} } = 1;
    $receiver->finish($oldest->{number});
    my @requests = $receiver->wait_for_requests(undef, $seen + 1);
    return $requests[-1]{path};
}

# Makes the calls, and waits until the worker has read them: it has worked, and rests again.
sub queue {
    my ($path, $count) = @_;
    my $from = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('$path')) FROM generate_series(1, $count)");
    $node->poll_query_until('postgres',
        "SELECT state = 'idle' AND state_change > '$from' FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker'")
      or die "the worker does not look at its ledger\n";
    return;
}

$receiver->hold;
queue('/many/hang', 100);
$receiver->wait_for_requests('/many/hang', 4);
queue('/few/hang', 3);
is_deeply([ map { next_after_an_answer() } 1 .. 2 ], [ ('/few/hang') x 2 ], 'when one path has all slots, the next two free slots go to the path that waits');
queue('/other/hang', 1);
my @next = map { next_after_an_answer() } 1 .. 5;
is(scalar(grep { $_ eq '/other/hang' } @next[ 0 .. 2 ]), 1, 'a third path gets one of the next three slots');
is(scalar(grep { $_ eq '/few/hang' } @next), 1, '... and the second path sends its last call');
is(scalar(grep { $_ eq '/many/hang' } @next), 3, '... and the first path gets the other slots');
next_after_an_answer() for 1 .. 4;
is_deeply([ map { $_->{path} } on_the_wire() ], [ ('/many/hang') x 4 ], 'when no other path waits, one path has all slots again');
is($node->safe_psql('postgres', "SELECT in_flight FROM wee5_cron.worker WHERE datname = 'postgres'"), 4, '... and no more than there are');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
is_deeply($node->statuses('postgres'), { succeeded => 104 }, 'all calls succeed');

# A policy limits how many calls of its path are in flight, and how much of their answers is kept.
$node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, max_in_flight, max_response_bytes) VALUES ('/single/hang', 1, 0), ('/double/hang', 2, 3)");
$answered{ $_->{number} } = 1 for $receiver->requests;
$receiver->hold;
queue('/double/hang', 5);
$receiver->wait_for_requests('/double/hang', 2);
queue('/single/hang', 2);
queue('/other/hang', 1);
$receiver->wait_for_requests('/other/hang', 2);
is_deeply([ sort map { $_->{path} } on_the_wire() ], [ qw(/double/hang /double/hang /other/hang /single/hang) ], 'each path has as many as its policy allows');
is(next_after_an_answer(), '/double/hang', 'an answer makes room for the next of its path');
$node->safe_psql('postgres', "UPDATE wee5_cron.endpoint SET max_in_flight = NULL WHERE endpoint_path = '/double/hang'");
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
is_deeply($node->statuses('postgres'), { succeeded => 112 }, 'all are delivered');
is($node->safe_psql('postgres', "SELECT DISTINCT length(response_body), response_truncated FROM wee5_cron.invocation WHERE endpoint_path = '/double/hang'"), '3|t', 'the ledger keeps as much of an answer as the policy says');
is($node->safe_psql('postgres', "SELECT DISTINCT coalesce(response_body, ''), response_truncated FROM wee5_cron.invocation WHERE endpoint_path = '/single/hang'"), '|t', '... or nothing');

# Each attempt takes a second, and each call is due again a second later: far more calls are due than the four slots can take.
$receiver->hold;
$node->policy('postgres', '/again/hang', timeout => '1s', retry_on => 'transient', retry_delays => '{1s}', max_attempts => 1000);
queue('/again/hang', 60);
ok($node->poll_query_until('postgres', "SELECT count(*) = 60 FROM wee5_cron.attempt WHERE attempt = 1 AND invocation_id IN (SELECT id FROM wee5_cron.invocation WHERE endpoint_path = '/again/hang')"),
    'calls that are made again leave room for those that were never made');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');

# Thousands of calls that are due at the same time do not reach a small app at once. Other paths do not wait behind them.
$node->safe_psql('postgres', 'ALTER SYSTEM SET wee5_cron.max_in_flight = 64');
$node->reload;
$node->policy('postgres', '/nine/hang', max_in_flight => 8, timeout => '10 minutes');
$receiver->hold;
$node->safe_psql('postgres', "SELECT count(wee5_cron.invoke('/nine/hang', at => clock_timestamp() + interval '1 second')) FROM generate_series(1, 10000)");
$receiver->wait_for_requests('/nine/hang', 8);
$node->finished('postgres', $_) for split /\n/, $node->safe_psql('postgres', "SELECT invoke_cron_endpoint('/beside') FROM generate_series(1, 20)");
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/nine/hang' AND finished_at IS NULL"), 10_000, 'calls of another path do not wait behind ten thousand whose policy limits them');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
my ($made, $most_at_once) = $receiver->concurrency('/nine/hang');
is($made, 10_000, '... all of which are made');
is($most_at_once, 8, '... at most eight at once, as the policy says');

$node->log_is_sane;
done_testing();
