# 5,000 calls are queued and 200 are on the wire, and nothing answers them. The server stops all the same, and after a start
# they are on the wire again.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
# The requests' timeout is longer than this test's: a stop that waits for one of them fails.
my $node = Wee5Cron::Node->start_new('main', conf => "wee5_cron.max_in_flight = 200\nwee5_cron.request_timeout = '6h'");
$node->install($_, api_url => $receiver->url, secret => 'the secret') for qw(postgres another);
# pg_ctl gives up after so many seconds.
$ENV{PGCTLTIMEOUT} = $PostgreSQL::Test::Utils::timeout_default;

for my $how (qw(fast immediate restart)) {
    $receiver->hold;
    my $before = () = $receiver->requests('/another/hang');
    my $id     = $node->call('another', '/another/hang');
    $receiver->wait_for_requests('/another/hang', $before + 1);
    my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
    $audit->commit_calls(5_200);
    $audit->wait_for_wire(200);
    my @processes = split /\n/, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'wee5_cron%'");
    is(scalar(@processes), 3, "$how: a launcher and two workers run, with requests on the wire");

    if ($how eq 'restart') {
        $node->restart;
    }
    else {
        $node->stop($how);
        $node->start;
    }
    pass("$how: the stop does not wait for the requests");
    is(scalar(grep { kill 0, $_ } @processes), 0, '... and all three processes have ended');

    $audit->wait_for_wire(400);
    $receiver->release_for_good;
    $audit->nothing_is_lost("$how, and a start");
    is($audit->repeats, 200, '... and the 200 calls on the wire are sent again, because nobody knows how they ended');
    fields_are($node->finished('another', $id), { status => 'succeeded' }, '... and the call in the other database succeeds');
}

$node->log_is_sane;
done_testing();
