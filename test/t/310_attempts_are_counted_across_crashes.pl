# Whatever process dies: a call that waits for a retry gets it, attempts are still counted, and a call whose policy is `never`
# is sent at most once.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'restart_after_crash = on');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

sub wait_until_up {
    $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
    return;
}

my @ways = (
    [ 'kill -9 of the worker' => sub { my $pid = $node->worker_pid('postgres'); kill 'KILL', $pid; wait_until_up(); $node->wait_for_worker('postgres', $pid) } ],
    [ 'SIGTERM of the worker' => sub { my $pid = $node->worker_pid('postgres'); kill 'TERM', $pid; $node->wait_for_worker('postgres', $pid) } ],
    [ 'an immediate stop' => sub { $node->stop('immediate'); $node->start } ],
    [ 'a fast stop'       => sub { $node->stop('fast');      $node->start } ],
);

for my $way (@ways) {
    my ($what, $crash) = @$way;
    my $prefix = '/' . ($what =~ s/\W+/-/gr);

    # A call that waits for its second attempt.
    my $later = "$prefix/statuses/503,200";
    $node->policy('postgres', $later, retry_delays => '{4s}');
    my $waiting = $node->call('postgres', $later);
    my $due = $node->invocation_when('postgres', $waiting, "status = 'retrying'")->{next_attempt_at};

    # A call on the wire for its second attempt, long enough for the ledger to know.
    $receiver->hold;
    $node->policy('postgres', "$prefix/hang", retry_delays => '{0}', max_attempts => 3);
    my $hanging = $node->call('postgres', "$prefix/hang");
    $receiver->wait_for_requests("$prefix/hang");
    $receiver->release(503);
    $receiver->wait_for_requests("$prefix/hang", 2);
    $node->invocation_when('postgres', $hanging, "status = 'sending' AND attempts = 2");

    # A call on the wire that must not be sent a second time.
    $node->policy('postgres', "$prefix/once/hang", retry_on => 'never');
    my $once = $node->call('postgres', "$prefix/once/hang");
    $receiver->wait_for_requests("$prefix/once/hang");
    fields_are($node->invocation('postgres', $once), { status => 'sending', attempts => 1, url => qr{/once/hang$}, first_sent_at => qr/^2/ },
        "$what: a call with retry_on = 'never' is claimed before it is sent");

    $crash->();

    my ($lost) = ($node->finished('postgres', $once));
    fields_are($lost, { status => 'failed', reason => 'lost', attempts => 1, error => qr{^The outcome of the call of /\S+ is unknown: \w}, hint => qr/look/ }, "$what: that call is lost");
    my @attempts = $node->attempts('postgres', $once);
    is_deeply([ map { "$_->{attempt} $_->{reason}" } @attempts ], ['1 lost'], '... and so is its attempt');
    is($attempts[0]{error}, $lost->{error}, '... with the same error');

    $receiver->wait_for_requests("$prefix/hang", 3);
    $receiver->release(503);
    fields_are($node->finished('postgres', $hanging), { status => 'failed', reason => 'http', http_status => 503, attempts => 3 },
        "$what: the call that was on the wire gets its third and last attempt");
    is_deeply([ map { "$_->{attempt} $_->{reason}" } $node->attempts('postgres', $hanging) ], [ '1 http', '2 lost', '3 http' ],
        '... and each attempt has its row');
    is_deeply([ map { $_->{headers}{'x-wee5-cron-attempt'} } $receiver->requests("$prefix/hang") ], [ 1, 2, 3 ], '... and its number');

    fields_are($node->finished('postgres', $waiting), { status => 'succeeded', attempts => 2 }, "$what: the call that waited for its retry gets it");
    my $in_time = $node->safe_psql('postgres',
        "SELECT started_at >= '$due' FROM wee5_cron.attempt WHERE invocation_id = $waiting AND attempt = 2");
    is($in_time, 't', '... and not before its time');
    is(scalar(my @sent = $receiver->requests("$prefix/once/hang")), 1, "$what: the call with retry_on = 'never' was sent once");
}

# Calls are claimed as slots become free: a call that only waits for a slot is not lost.
$receiver->hold;
$node->set_server('wee5_cron.max_in_flight', 1);
$node->policy('postgres', '/mail/hang', retry_on => 'never');
$node->safe_psql('postgres', "SELECT count(wee5_cron.invoke('/mail/hang')) FROM generate_series(1, 5)");
$receiver->wait_for_requests('/mail/hang');
is($node->safe_psql('postgres', "SELECT string_agg(status, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path = '/mail/hang'"),
    'sending queued queued queued queued', 'only the call that has a slot is claimed');
$ways[0][1]->();
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
my $ended = $node->safe_psql('postgres', "SELECT string_agg(status, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path = '/mail/hang'");
is($ended, 'failed succeeded succeeded succeeded succeeded', 'a crash loses that call, and the others are sent after it');
my %times;
$times{ $_->{headers}{'x-wee5-cron-invocation'} }++ for $receiver->requests('/mail/hang');
is_deeply([ values %times ], [ (1) x 5 ], '... and each is sent once');

# A stop between claiming and sending costs a call no attempt. With many calls, some are always at that point.
$node->set_server('wee5_cron.max_in_flight', 4);
$node->policy('postgres', '/burst', retry_on => 'never');
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/burst?n=' || n)) FROM generate_series(1, 400) n");
$receiver->wait_for_requests('/burst', 5);
$ways[1][1]->();
$node->wait_until_all_finished('postgres');
%times = ();
$times{ $_->{url} }++ for $receiver->requests('/burst');
is(scalar(grep { $_ > 1 } values %times), 0, 'a stop among many calls: no call is sent twice');
my ($lost) = $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/burst%' AND status <> 'succeeded'");
cmp_ok($lost, '<=', 4, '... and no more calls are lost than were on the wire');

$node->log_is_sane;
done_testing();
