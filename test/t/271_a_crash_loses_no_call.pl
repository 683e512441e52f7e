# 5,000 calls are queued and 200 are on the wire when a process dies, by kill -9 (the server restarts all of them) or
# because an administrator ends it. Every committed call is delivered and recorded, and only those on the wire are sent
# again.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "restart_after_crash = on\nwee5_cron.max_in_flight = 200");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

sub pid_of {
    my ($backend_type) = @_;
    return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type'");
}

# A session with uncommitted calls.
sub session_with_open_calls {
    my ($audit) = @_;
    my $session = $node->background_psql('postgres');
    $session->query_safe('BEGIN');
    $session->query_safe($audit->calls(500, 'rolled-back') =~ s/^SELECT (.*) FROM/SELECT count($1) FROM/r);
    return $session;
}

# Each action runs while another session has an open transaction. Each is named after the process that it kills.
my @ways = (
    [ 'kill -9 of the worker'   => sub { kill 'KILL', pid_of('wee5_cron worker') } ],
    [ 'kill -9 of the launcher' => sub { kill 'KILL', pid_of('wee5_cron launcher') } ],
    [ 'kill -9 of a backend that makes calls' => sub {
            my ($session) = @_;
            kill 'KILL', $session->query_safe('SELECT pg_backend_pid()');
    } ],
    [ 'immediate shutdown' => sub { $node->restart_immediately } ],
    [ 'pg_terminate_backend of the worker' => sub {
            $node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of('wee5_cron worker') . ')');
    } ],
);

for (@ways) {
    my ($way, $do) = @$_;
    $receiver->hold;
    my $audit   = Wee5Cron::Audit->new($node, 'postgres', $receiver);
    my $session = session_with_open_calls($audit);
    $audit->roll_back_calls(100);
    $audit->commit_calls(5_200);
    $audit->wait_for_wire(200);
    my $worker = pid_of('wee5_cron worker');

    $do->($session);
    $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
    $node->wait_for_worker('postgres', $worker);
    $receiver->release_for_good;
    # That session ended with its server, or ends now: its calls are rolled back.
    eval { $session->quit };

    $audit->nothing_is_lost($way);
    is($audit->repeats, 200, '... and all 200 calls on the wire are sent again, because nobody knows how they ended');
}

$node->log_is_sane;
done_testing();
