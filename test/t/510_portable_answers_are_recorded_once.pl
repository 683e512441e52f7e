# The portable edition with several sessions at once: harvests, callers, waiters, prune(), the file run again, uninstall(). Each
# answer is recorded once, each failure is counted once, and nobody gets in another one's way.
use FindBin;
use lib "$FindBin::RealBin/../support";
use POSIX ();
use Time::HiRes qw(usleep);
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;

my $secret   = 'canary-of-the-crowd';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
$node->install_portable;
$node->as_owner("SELECT wee5_cron.set('alert_url', '@{[ $receiver->url ]}/status/204?alert'); SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->remove_harvest_job;
$node->as_owner('CREATE TABLE public.harvested (n bigint)');
my $harvest = 'INSERT INTO public.harvested SELECT wee5_cron.harvest()';
sub one { my ($sql) = @_; return $node->as_owner($sql) }

# A psql of the owner that goes on beside the test. end() waits for it, and returns what it said of errors.
my $scripts = PostgreSQL::Test::Utils::tempdir();
my $script  = 0;
sub begin {
    my ($sql) = @_;
    my $file = "$scripts/" . ++$script;
    append_to_file($file, $sql);
    my $pid = fork // die "fork: $!";
    return { pid => $pid, errors => "$file.errors" } if $pid;
    open STDOUT, '>', '/dev/null' or die;
    open STDERR, '>', "$file.errors" or die;
    exec 'psql', qw(-XAtq -U postgres -d), $node->connstr('postgres'), '-f', $file or POSIX::_exit(1);
}
sub runs { my ($psql) = @_; return !($psql->{ended} ||= waitpid($psql->{pid}, POSIX::WNOHANG())) }
sub end { my ($psql) = @_; waitpid $psql->{pid}, 0 unless $psql->{ended}; $psql->{ended} = 1; return slurp_file($psql->{errors}) }

# Waits until the psql waits for a lock, or has ended.
sub wait_for_lock_of {
    my ($psql, $name) = @_;
    for (1 .. 600) { return if !runs($psql) or one("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$name' AND wait_event_type = 'Lock'"); usleep(20_000) }
    return;
}

# The first failures of a path, in two transactions: neither sees the other's.
$node->no_retries('postgres', '/status/500');
one("SELECT invoke_cron_endpoint('/status/500?first')");
$node->deliver;
my $counting = $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]);
$counting->query_safe('BEGIN; SELECT wee5_cron.harvest()');
one("SELECT invoke_cron_endpoint('/status/500?second'), invoke_cron_endpoint('/status/500?third')");
$node->deliver;
my $beside = begin("SET application_name = 'beside'; SELECT wee5_cron.harvest();");
wait_for_lock_of($beside, 'beside');
$counting->query_safe('COMMIT');
is(end($beside), '', 'a harvest beside one that has not committed raises nothing');
one('SELECT wee5_cron.harvest()');
is(one("SELECT failures FROM wee5_cron.trouble WHERE name = '/status/500'"), 3, '... and each of three failures is counted');
is(one("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert'"), 1, '... and leads to one alert');

# A run of a job that failed before it made a call, looked at by two harvests.
my $job = one("SELECT jobid FROM cron.job WHERE jobname = 'poll-activities'");
one('SELECT wee5_cron.harvest()');
$node->safe_psql('postgres', "INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time) SELECT $job, nextval('cron.runid_seq'), 'postgres', 'postgres', 'x', 'failed', 'ERROR:  x', now(), now()");
$counting->query_safe('BEGIN; SELECT wee5_cron.harvest()');
$beside = begin("SET application_name = 'beside'; SELECT wee5_cron.harvest();");
wait_for_lock_of($beside, 'beside');
ok(!runs($beside), 'a harvest does not wait for one that looks at the jobs');
$counting->query_safe('COMMIT');
$counting->quit;
is(end($beside), '', 'two harvests that look at the jobs at once raise nothing');
one('SELECT wee5_cron.harvest()');
is(one("SELECT sum(failures) FROM wee5_cron.trouble WHERE name <> '/status/500'"), 1, 'a failed run is counted once by two harvests');

# Two calls of one key, in two transactions.
for my $key ('one', '', "it's\n\t\"odd\" \\ %s ? \x{e9}") {
    my $quoted = "'" . (utf8_bytes($key) =~ s/'/''/gr) . "'";
    my @sessions = map { $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]) } 1, 2;
    my $path = '/status/200?key=' . length $key;
    my @ids  = map { $_->query_safe("BEGIN; SELECT wee5_cron.invoke('$path', key => $quoted)") } @sessions;
    $_->query_safe('COMMIT') for reverse @sessions;
    $_->quit for @sessions;
    is(one("SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id IN ($ids[0], $ids[1])") <= 1 ? 1 : 0, 1, 'of two calls of a key at once, no more than one is handed over');
    $node->deliver_and_harvest for 1, 2;
    like(one("SELECT string_agg(status, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE id IN ($ids[0], $ids[1])"), qr/^(?:cancelled|succeeded) succeeded$/, '... and the newer one is sent');
    my $newer = one("SELECT wee5_cron.invoke('$path', key => $quoted, at => now() + interval '1 hour')");
    is(one("SELECT key = $quoted FROM wee5_cron.upcoming WHERE invocation_id = $newer"), 't', '... and the key is kept as it is');
    one("SELECT wee5_cron.cancel($newer)");
}
sub utf8_bytes { my ($text) = @_; utf8::encode($text); return $text }

# Callers and harvests, all at once.
$node->policy('postgres', '/status/503', max_attempts => 2, retry_delays => '{100ms}');
$node->policy('postgres', '/status/404', max_attempts => 1);
$node->deliver_and_harvest;
one('TRUNCATE public.harvested; DELETE FROM wee5_cron.invocation WHERE true; DELETE FROM wee5_cron.attempt WHERE true; DELETE FROM wee5_cron.trouble WHERE true');
my ($callers, $calls) = (2, 60);
my @paths = qw(/status/200 /status/404 /status/503 /status/204);
my $ended = sub { one("SELECT count(*) = @{[ $callers * $calls ]} AND bool_and(finished_at IS NOT NULL) FROM wee5_cron.invocation WHERE endpoint_path <> 'wee5_cron.alert'") eq 't' };
my @crowd = map { begin(join '', map { "SELECT invoke_cron_endpoint('" . $paths[ $_ % @paths ] . "?n=$_'), pg_sleep(0.01);\n" } 1 .. $calls) } 1 .. $callers;
push @crowd, map { begin("$harvest;\nSELECT pg_sleep(random() * 0.05);\n" x 60) } 1 .. 4;
while (grep { runs($_) } @crowd) { $node->deliver; usleep(50_000) }
is(join('', map { end($_) } @crowd), '', 'four sessions that harvest beside two that call raise nothing');
for (1 .. 600) { last if $ended->(); $node->deliver; one($harvest); usleep(100_000) }
ok($ended->(), '... and every call ends');
$node->deliver;
one($harvest);
is(one('SELECT sum(n) FROM public.harvested'), one('SELECT count(*) FROM wee5_cron.invocation'), '... and all harvests together have ended each call once');
is(one("SELECT string_agg(DISTINCT split_part(i.endpoint_path, '?', 1) || ' ' || i.status || i.attempts, ', ' ORDER BY split_part(i.endpoint_path, '?', 1) || ' ' || i.status || i.attempts) FROM wee5_cron.invocation i WHERE endpoint_path <> 'wee5_cron.alert'"),
    '/status/200 succeeded1, /status/204 succeeded1, /status/404 failed1, /status/503 failed2', '... with the outcome and the attempts of its path');
is(one('SELECT count(*) FROM wee5_cron.invocation i WHERE (SELECT array_agg(a.attempt ORDER BY a.attempt) FROM wee5_cron.attempt a WHERE a.invocation_id = i.id) IS DISTINCT FROM ARRAY(SELECT generate_series(1, i.attempts))'), 0, '... and a row for each attempt');
my %sent;
$sent{ $_->{headers}{'X-Wee5-Cron-Invocation'} // $_->{headers}{'x-wee5-cron-invocation'} // 'alert' }++ for grep { $_->{url} =~ /\?n=/ } $receiver->requests;
is(join(', ', map { "$_->{id} $_->{attempts}" } grep { ($sent{ $_->{id} } // 0) != $_->{attempts} } $node->rows('postgres', "SELECT id, attempts FROM wee5_cron.invocation WHERE endpoint_path <> 'wee5_cron.alert'")), '', '... for each of which the app got one request');
is(one("SELECT string_agg(name || ' ' || failures, ', ' ORDER BY name) FROM wee5_cron.trouble WHERE kind = 'failing'"), join(', ', map { "$_ " . $callers * $calls / @paths } '/status/404', '/status/503'), '... and each failure is counted once');
is(one("SELECT string_agg(c || '', ' ') FROM (SELECT count(*) AS c FROM wee5_cron.invocation WHERE endpoint_path = 'wee5_cron.alert' GROUP BY body->>'endpoint_path') a"), '1 1', '... and each path has one alert');
is(one('SELECT (SELECT count(*) FROM wee5_cron.pg_net_request) + (SELECT count(*) FROM wee5_cron.pending_outcome) + (SELECT count(*) FROM wee5_cron.pending_alert)'), 0, '... and nothing is left over');

# The same while others wait for calls, prune, and run the file again.
one("SELECT wee5_cron.set('keep_succeeded', '0'), wee5_cron.set('keep_failed', '0')");
my $file = slurp_file(Wee5Cron::Hosted::portable_file());
@crowd = map { begin("$harvest;\nSELECT pg_sleep(random() * 0.05);\n" x 40) } 1 .. 2;
# prune() deletes a call as soon as it has ended, unless a policy says so: then it stays for a minute, for those who wait for it.
$node->policy('postgres', "$_?waits", keep_succeeded => '0', keep_failed => '0', max_attempts => 2, retry_delays => '{100ms}') for @paths;
push @crowd, begin(join '', map { "SELECT invoke_cron_endpoint('$paths[ $_ % @paths ]?waits') AS id \\gset\nSELECT (wee5_cron.wait_for(:id, '200 ms')).status;\n" } 1 .. 20);
push @crowd, begin("SELECT wee5_cron.prune();\nSELECT pg_sleep(0.1);\n" x 15);
push @crowd, begin(join "\n", 'BEGIN;', $file, 'COMMIT;', $file);
while (grep { runs($_) } @crowd) { $node->deliver; usleep(50_000) }
# While the file runs again in one transaction, a harvest waits for five seconds at most. The next one goes on.
is(join("\n", grep { /(?:ERROR|FATAL|WARNING):/ && !/ERROR:  canceling statement due to lock timeout/ } map { split /\n/ } map { end($_) } @crowd), '', 'sessions that wait, prune, or run the file again beside harvests raise nothing');
for (1 .. 300) { $node->deliver; one($harvest); last if one('SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL') == 0; usleep(100_000) }
is(one('SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL'), 0, '... and every call ends');

# A session that has written a policy, or read the ledger or a view, comes to the settings later. Neither it nor the file nor
# uninstall() ends in a deadlock. The tables that it holds are the first and the last that get locked.
my $holder = $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]);
my $policy = sub { "INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/held/$_[0]', 'POST', '{}')" };
sub goes_on_beside {
    my ($name, $script, %held) = @_;
    for my $what (sort keys %held) {
        $holder->query_safe("BEGIN; $held{$what}");
        my $beside = begin("SET application_name = 'beside'; $script");
        wait_for_lock_of($beside, 'beside');
        $holder->query_safe($policy->($what));
        $holder->query_safe("SELECT wee5_cron.setting('enabled'); COMMIT");
        is(end($beside), '', "$name beside a session that $what raises nothing");
        is(one("SELECT count(*) FROM wee5_cron.endpoint WHERE endpoint_path = '/held/$what'"), 1, '... and that one goes on');
        one("DELETE FROM wee5_cron.endpoint WHERE endpoint_path LIKE '/held%'");
    }
    return;
}
my %held = (
    wrote_a_policy  => "INSERT INTO wee5_cron.endpoint (endpoint_path) VALUES ('/held')",
    reads_the_calls => 'SELECT count(*) FROM wee5_cron.invocation',
    reads_a_view    => 'DECLARE reading CURSOR FOR SELECT * FROM wee5_cron.upcoming; FETCH reading',
    wrote_a_claim   => "INSERT INTO wee5_cron.claim (idempotency_key) VALUES (gen_random_uuid())",
);
goes_on_beside('the file', "BEGIN;\n$file\nCOMMIT;", %held{qw(wrote_a_policy wrote_a_claim reads_a_view)});
# Only the last word is left out: what is removed is there again.
goes_on_beside('uninstall()', "SET client_min_messages = warning;\nBEGIN;\nDO \$\$BEGIN PERFORM wee5_cron.uninstall(); END\$\$;\nROLLBACK;", %held);
$holder->query_safe("BEGIN; SELECT count(*) FROM wee5_cron.job");
my $impatient = begin("SET lock_timeout = '200ms'; SET application_name = 'impatient'; SELECT wee5_cron.uninstall();");
like(end($impatient), qr/canceling statement due to lock timeout/, 'uninstall() obeys lock_timeout');
$holder->query_safe('COMMIT');
$holder->quit;

# uninstall() beside them.
@crowd = map { begin("SELECT invoke_cron_endpoint('/status/200?n=$_');\n" . "SELECT wee5_cron.harvest();\nSELECT pg_sleep(random() * 0.02);\n" x 60) } 1 .. 3;
push @crowd, begin(join '', map { "INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/beside/$_', 'POST', '{}');\nSELECT count(*) FROM wee5_cron.job_status;\n" } 1 .. 100);
usleep(300_000);
is($node->error_of('postgres', 'SELECT wee5_cron.uninstall()', role => 'postgres'), undef, 'uninstall() succeeds beside harvests');
my $told = join '', map { end($_) } @crowd;
unlike($told, qr/deadlock|cache lookup|XX000|internal/, '... which end in an error that says what is gone');
is(one("SELECT count(*) FROM pg_proc p WHERE p.pronamespace = to_regnamespace('wee5_cron') OR p.proname = 'invoke_cron_endpoint'"), 0, '... and nothing is left');
$node->log_is_sane;
done_testing();
