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

$node->log_is_sane;
done_testing();
