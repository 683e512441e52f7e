# invoke(at => ..., key => ...): a call is sent at its time and not before, and a newer call with its key replaces it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::StillClock;
use Wee5Cron::Test;
use Wee5Cron::Editions;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# Makes a call for a distant time, or for a moment from now.
sub later { my ($path, $more) = @_; return $node->safe_psql('postgres', "SELECT wee5_cron.invoke('$path', at => now() + '1 day'" . ($more // '') . ')') }
sub soon { my ($path, $more) = @_; return $node->safe_psql('postgres', "SELECT wee5_cron.invoke('$path', at => clock_timestamp() + '1.5 s'" . ($more // '') . ')') }
sub is_waiting {
    my ($id, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->invocation('postgres', $id), { status => 'queued', attempts => 0, finished_at => undef }, $name);
}
sub is_replaced {
    my ($id, $by, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->invocation('postgres', $id),
        { status => 'cancelled', reason => 'cancelled', next_attempt_at => undef, error => "Call $by, which has the same key, replaced this call." }, $name);
}

# The time.
my $soon = soon('/status/200?soon');
is_waiting($soon, 'a call with a later time is queued');
is($node->safe_psql('postgres', 'SELECT wee5_cron.queued_calls()'), 0, '... but not counted as queued');
my $row = $node->finished('postgres', $soon);
fields_are($row, { status => 'succeeded', attempts => 1, next_attempt_at => undef }, '... and succeeds');
is($node->safe_psql('postgres', "SELECT coalesce(first_sent_at, finished_at) BETWEEN due_at AND due_at + interval '20 seconds' AND due_at > requested_at FROM wee5_cron.invocation WHERE id = $soon"), 't', '... when its time has come');
my $past = $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/status/200?past', at => now() - interval '1 year')");
fields_are($node->finished('postgres', $past), { status => 'succeeded' }, 'a call whose time has passed is sent at once');
is($node->safe_psql('postgres', "SELECT due_at = requested_at FROM wee5_cron.invocation WHERE id = $past"), 't', '... and its due_at is the time of the request');
for my $at ("'infinity'", "'-infinity'", "now() + interval '10 years 1 day'") {
    $node->raises('postgres', "SELECT wee5_cron.invoke('/a', at => $at)", '22023', "at => $at is refused", hint => qr/within the next 10 years/);
}
$node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.invoke('/a', at => now() + interval '10 years'); ROLLBACK");
$node->raises('postgres', q{SELECT wee5_cron.invoke('/a', key => repeat('é', 101))}, '22023', 'a key of more than 200 bytes is refused');
$node->raises('postgres', q{SELECT wee5_cron.invoke('/a', target => 'other')}, '55000', 'a target that nobody configured is refused');

# Views of calls that wait.
my $waiting = $node->call('postgres', '/trial', q{at => now() + interval '1 day 1 minute', key => 'trial-1'});
is_deeply([ map { "$_->{kind} $_->{endpoint_path} $_->{key}" } $node->rows('postgres', "SELECT * FROM wee5_cron.upcoming WHERE invocation_id = $waiting") ], [], 'a call that is due in more than 24 hours is not in upcoming');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET due_at = due_at - interval '2 minutes', next_attempt_at = due_at - interval '2 minutes' WHERE id = $waiting");
is_deeply([ map { "$_->{kind} $_->{endpoint_path} $_->{key}" } $node->rows('postgres', "SELECT * FROM wee5_cron.upcoming WHERE invocation_id = $waiting") ], ['call /trial trial-1'], 'a call that is due within 24 hours is in upcoming');
is($node->safe_psql('postgres', "SELECT (wee5_cron.wait_for($waiting, '100 ms')).status"), 'queued', 'wait_for() returns a waiting call at the timeout');
like($node->safe_psql('postgres', 'SELECT wee5_cron.status_page()'), qr/<dt>Queued<\/dt><dd>0<\/dd>/, 'the status page does not count a waiting call as queued');

# The key.
my $newer = later('/trial', ", key => 'trial-1'");
is_replaced($waiting, $newer, 'a newer call with the same key replaces the earlier one');
is_waiting($newer, '... and waits in its place');
$node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.invoke('/trial', at => now() + '2 days', key => 'trial-1'); ROLLBACK");
is_waiting($newer, 'a call that is rolled back replaces nothing');
my $other = later('/trial', ", key => 'trial-2'");
is_waiting($newer, 'a call with another key replaces nothing');
$node->safe_psql('postgres', "CREATE ROLE colleague LOGIN; SELECT wee5_cron.grant_to('colleague', 'call')");
my $theirs = $node->psql_as('colleague', 'postgres', "SELECT wee5_cron.invoke('/trial', at => now() + '1 day', key => 'trial-1')");
is_waiting($_, "another role's call with the same key replaces nothing") for $newer, $theirs;
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($_)") for $newer, $other, $theirs;
$node->wait_until_all_finished('postgres');
fields_are($node->invocation('postgres', $newer), { status => 'cancelled', error => 'The call of /trial was cancelled.' }, 'cancel() cancels a waiting call');
my ($one, $two) = split /\n/, $node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.invoke('/twice', key => 'k'); SELECT wee5_cron.invoke('/twice', key => 'k'); COMMIT");
fields_are($node->finished('postgres', $two), { status => 'succeeded' }, 'of two calls with one key in one transaction the second is made');
is_replaced($one, $two, '... and the first is replaced');
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($two)");
fields_are($node->finished('postgres', $again), { status => 'succeeded', key => undef, due_at => undef }, 'retry() copies neither key nor time');

Wee5Cron::Editions->needs_the_worker($node);

# A call with the key is already on the wire.
my $hangs = $node->call('postgres', '/hang', q{key => 'h'});
$receiver->wait_for_requests('/hang');
my $second = later('/status/200?second', ", key => 'h'");
fields_are($node->invocation('postgres', $hangs), { finished_at => undef }, 'a newer call does not replace one on the wire');
$receiver->release;
fields_are($node->finished('postgres', $hangs), { status => 'succeeded' }, '... which succeeds');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.cancellation'), '... and no cancellation is left');
is_waiting($second, '... and the newer call waits');
my $third = $node->call('postgres', '/status/200?third', q{key => 'h'});
is_replaced($second, $third, 'a call for now replaces a waiting one');
fields_are($node->finished('postgres', $third), { status => 'succeeded' }, '... and succeeds');
my $retrying = $node->call('postgres', '/status/503', q{key => 'r'});
$node->invocation_when('postgres', $retrying, "status = 'retrying'");
my $instead = $node->call('postgres', '/status/200?instead', q{key => 'r'});
fields_are($node->finished('postgres', $instead), { status => 'succeeded' }, 'a call with the key of one that is being retried succeeds');
is_replaced($retrying, $instead, '... and replaces it');

# The earlier call is queued in the worker's memory.
$node->block_the_wire('postgres', $receiver);
my $queued = $node->call('postgres', '/status/200?queued', q{key => 'q'});
my $next = later('/status/200?next', ", key => 'q'");
$node->finished('postgres', $queued);
is_replaced($queued, $next, 'a newer call replaces one that waits for a slot');
my @sessions = map { $node->background_psql('postgres') } 1 .. 2;
my ($low, $high) = map { $_->query_safe("BEGIN; SELECT wee5_cron.invoke('/status/200?both', key => 'both')") } @sessions;
$_->query_safe('COMMIT') for @sessions;
$node->finished('postgres', $low);
is_replaced($low, $high, 'of two calls that did not see each other, the one with the lower id is replaced');
$_->quit for @sessions;
$receiver->release;
fields_are($node->finished('postgres', $high), { status => 'succeeded' }, '... and the other one succeeds');
is(scalar(() = $receiver->requests('/status/200?queued')), 0, 'a replaced call is not sent');
$node->set_server('wee5_cron.max_in_flight', 256);
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($next)");
$node->wait_until_all_finished('postgres');

# Overlap.
$node->policy('postgres', '/alone', overlap => 'skip');
my $alone = later('/alone');
fields_are($node->finished('postgres', $node->call('postgres', '/alone')), { status => 'succeeded' }, 'a call is not skipped for a waiting one');
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($alone)");
$node->policy('postgres', '/hang', overlap => 'skip');
$hangs = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang', 3);
my $late = soon('/hang');
fields_are($node->finished('postgres', $late), { status => 'skipped', reason => 'overlap', error => qr/\b$hangs\b/ }, 'a waiting call is skipped when its time comes while another is on the wire');
$receiver->release;
$node->wait_until_all_finished('postgres');
my $first = soon('/hang');
$receiver->wait_for_requests('/hang', 4);
fields_are($node->finished('postgres', $node->call('postgres', '/hang')), { status => 'skipped', error => qr/\b$first\b/ }, 'a call is skipped for one whose time has come');
$receiver->release;
$node->wait_until_all_finished('postgres');

# A restart, a crash.
my $after = $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/status/200?after', at => clock_timestamp() + '4 s')");
$node->restart;
fields_are($node->finished('postgres', $after), { status => 'succeeded' }, 'a call for later survives a restart');
$after = $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/status/200?crash', at => clock_timestamp() + '2 s')");
$node->stop('immediate');
$node->start;
fields_are($node->finished('postgres', $after), { status => 'succeeded' }, 'a call for later survives a crash');

# Many.
$node->safe_psql('postgres', "SELECT count(wee5_cron.invoke('/many', at => now() + interval '1 day')) FROM generate_series(1, 3000)");
my ($soonest) = $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/status/200?many', at => clock_timestamp() + '1 s'), count(wee5_cron.invoke('/many', at => now() + interval '1 day')) FROM generate_series(1, 300)") =~ /^(\d+)/;
fields_are($node->finished('postgres', $soonest), { status => 'succeeded' }, 'one of many waiting calls is sent at its time');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/many' AND status = 'queued'"), 3300, '... and the others wait');
for my $query ("SELECT count(*) FROM wee5_cron.worker", "SELECT count(*) FROM wee5_cron.job_status", "SELECT length(wee5_cron.status_page())") {
    is($node->error_of('postgres', $query), undef, "... and this query works on them: $query");
}

# Somebody sets the system clock.
my $clock = Wee5Cron::StillClock->new('2026-06-01 10:00:00');
my $server = Wee5Cron::Node->new_configured('clock');
$clock->start($server);
$server->install('postgres', api_url => $receiver->url, secret => 'the secret');
# On a clock that stands still, the launcher would wait forever before it restarts a worker that has just found no extension.
for (1 .. 300) {
    last if $server->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.worker WHERE pid IS NOT NULL AND state = 'idle'") > 0;
    $clock->jump($clock->now + 1);
}
$receiver->answers('/work', status => 202, headers => ['Wee5-Cron: accepted']);
$server->policy('postgres', '/work', complete_within => '23 hours');
$server->policy('postgres', '/status/503', retry_delays => '{10h}', retry_window => '2 days');
my $tomorrow = $server->call('postgres', '/status/200?tomorrow', q{at => now() + interval '1 day'});
my $in_two_days = $server->call('postgres', '/status/200?in-two-days', q{at => now() + interval '2 days'});
my $work = $server->call('postgres', '/work');
my $again_later = $server->call('postgres', '/status/503');
$server->invocation_when('postgres', $work, "status = 'accepted'");
$server->invocation_when('postgres', $again_later, "status = 'retrying'");
$clock->jump('2026-05-31 10:00:00');
fields_are($server->finished('postgres', $server->call('postgres', '/status/200?back')), { status => 'succeeded' }, 'after the clock was set back, a call is made');
fields_are($server->invocation('postgres', $tomorrow), { status => 'queued', attempts => 0 }, '... and a call for later waits');
fields_are($server->invocation('postgres', $work), { status => 'accepted' }, '... and an accepted call has its time to complete');
$clock->jump('2026-06-02 11:00:00');
fields_are($server->finished('postgres', $tomorrow), { status => 'succeeded', attempts => 1 }, 'when the clock is set to its time, a call for later is sent at once');
fields_are($server->finished('postgres', $work), { status => 'failed', reason => 'incomplete' }, '... and an accepted call whose time to complete has passed fails');
fields_are($server->invocation_when('postgres', $again_later, 'attempts > 1'), { attempts => 2 }, '... and a retry is made');
fields_are($server->invocation('postgres', $in_two_days), { status => 'queued', attempts => 0 }, '... and a call for a later time waits');
$server->log_is_sane;

done_testing();
