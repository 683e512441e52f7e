# Committed calls are sent, whatever happens to the server in between: a fast or immediate stop, kill -9 of the postmaster.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Time::HiRes ();

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'max_prepared_transactions = 5');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

for my $how ('fast', 'immediate', 'kill -9') {
    my $path = '/after-' . ($how =~ s/\W+/-/gr);
    $receiver->hold;
    my $seen    = () = $receiver->requests('/hang');
    my $hanging = $node->block_the_wire('postgres', $receiver);
    my $queued  = $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('$path/' || n)) FROM generate_series(1, 20) n");

    # The request still hangs after the server has stopped: neither waits for the other.
    if ($how eq 'kill -9') {
        # The data directory is in use until the last child process has noticed.
        my @children = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
        $node->kill9;
        for (1 .. 600) {
            last unless @children = grep { kill 0, $_ } @children;
            Time::HiRes::usleep(100_000);
        }
        is("@children", '', "$how: worker and launcher end with the postmaster");
        $node->start;
    }
    else {
        $node->stop($how);
        pass("$how: the server stops while a request hangs");
        $node->start;
    }

    # The call is sent again after the restart, before any session connects to the database.
    my @hung = $receiver->wait_for_requests('/hang', $seen + 2);
    my ($first, $second) = @hung[ -2, -1 ];
    is($second->{headers}{'idempotency-key'}, $first->{headers}{'idempotency-key'},
        "$how: the call that was on the wire is sent again with the same Idempotency-Key");
    is($second->{headers}{'x-wee5-cron-invocation'}, $hanging, '... and as the same invocation');
    $receiver->release_for_good;

    $node->wait_until_all_finished('postgres');
    my %arrived;
    $arrived{ $_->{path} }++ for $receiver->requests(qr{^\Q$path\E/});
    is(scalar(keys %arrived), $queued, "$how: every queued call is sent");
    is(scalar(grep { $_ > 1 } values %arrived), 0, '... and only once, since none had been on the wire');
    is_deeply([ sort keys %{ $node->statuses('postgres') } ], ['succeeded'], '... and recorded as succeeded');
    fields_are($node->invocation('postgres', $hanging), { status => 'succeeded', attempts => qr/^[12]$/, first_sent_at => qr/./ },
        '... and so is the call that hung');
}

my $ids = $node->one_row('postgres', 'SELECT count(*) AS n, count(DISTINCT idempotency_key) AS keys FROM wee5_cron.invocation');
is($ids->{keys}, $ids->{n}, 'no two rows have the same idempotency_key');

# An immediate stop does not lose a call that was just committed: the server stops before the worker can have sent it.
$node->safe_psql('postgres', "SELECT invoke_cron_endpoint('/just/' || n) FROM generate_series(1, 50) n");
$node->stop('immediate');
$node->start;
$node->wait_until_all_finished('postgres');
my %just = map { $_->{path} => 1 } $receiver->requests(qr{^/just/});
is(scalar(keys %just), 50, 'calls committed right before a crash are all sent');

# Transactions prepared before a crash, and committed or rolled back after it.
$node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/prepared/$_'); PREPARE TRANSACTION '$_'") for qw(kept discarded);
for my $how (qw(immediate fast)) {
    $node->stop($how);
    $node->start;
    # When this call has been sent, the worker has read the ledger.
    is($node->finished('postgres', $node->call('postgres', "/fence/$how"))->{status}, 'succeeded', "$how: a call is sent while other transactions are prepared");
    is(scalar(my @early = $receiver->requests(qr{^/prepared/})), 0, '... whose calls are not sent');
}
$node->safe_psql('postgres', "ROLLBACK PREPARED 'discarded'");
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'");
my ($kept) = $receiver->wait_for_requests('/prepared/kept');
is($kept->{bearer}, 'match', 'COMMIT PREPARED after a crash sends the call');
is($node->finished('postgres', $kept->{headers}{'x-wee5-cron-invocation'})->{status}, 'succeeded', '... and the row says so');
is($node->finished('postgres', $node->call('postgres', '/fence/last'))->{status}, 'succeeded', 'a call after both decisions is sent');
is(scalar(my @discarded = $receiver->requests('/prepared/discarded')), 0, '... and ROLLBACK PREPARED has sent nothing');

$node->log_is_sane;
done_testing();
