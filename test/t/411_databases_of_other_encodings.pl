# Names, paths, headers and bodies that are not ASCII, in databases with the encodings LATIN1 and SQL_ASCII: the app gets
# the same bytes at the first attempt and at the next ones, through the builtin transport and through the real pg_net. Also:
# what wee5_cron.proxy means for calls over pg_net.
use utf8;
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

local $ENV{PGCLIENTENCODING} = 'UTF8';
my $secret    = 'the secret of this test';
my $receiver  = Wee5Cron::Receiver->start(secret => $secret);
my $pg_net    = pg_net_available();
my %encoding  = (latin1 => 'LATIN1', ascii => 'SQL_ASCII');
my $node = Wee5Cron::Node->start_new('main', preload => 'pg_cron,wee5_cron' . ($pg_net ? ',pg_net' : ''),
    conf => "cron.database_name = 'latin1'" . ($pg_net ? "\npg_net.database_name = 'latin1'" : ''));
for my $database (qw(latin1 ascii)) {
    $node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding{$database}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    $node->safe_psql($database, 'CREATE EXTENSION pg_net') if $pg_net;
    $node->safe_psql($database, 'CREATE EXTENSION pg_cron') if $database eq 'latin1';
    $node->install($database, api_url => $receiver->url, secret => $secret);
}

# psql in UTF-8, as in a terminal. A SQL_ASCII database accepts the bytes as they are.
sub sql {
    my ($database, $sql) = @_;
    utf8::encode($sql);
    local $ENV{PGCLIENTENCODING} = 'SQL_ASCII' if $database eq 'ascii';
    my $answer = $node->safe_psql($database, $sql);
    utf8::decode($answer);
    return $answer;
}

my $turn = 0;
sub calls_arrive {
    my ($database, $transport) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $name = "$encoding{$database}, $transport";
    $node->safe_psql('postgres', "ALTER DATABASE $database SET wee5_cron.transport = '$transport'");
    my $n = ++$turn;

    # 503 first: the caller's session hands over the first attempt, the worker the second one.
    my $path = "/f\x{fc}r-$n/statuses/503,200";
    sql($database, "INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on, retry_delays) VALUES ('$path?n=$n', 'transient', '{10ms}')");
    my $id;
    if ($database eq 'latin1') {
        sql($database, "SELECT wee5_cron.schedule('t\x{e4}glich $n', '0 0 1 1 *', '$path?n=$n')");
        $id = sql($database, "SELECT wee5_cron.run_now('t\x{e4}glich $n')");
    }
    else {
        # pg_cron is not in this database: the name is the one in the row for the path.
        sql($database, "INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES ('t\x{e4}glich $n', '$path?n=$n')");
        $id = sql($database, "SET application_name = 'pg_cron'; SELECT invoke_cron_endpoint('$path?n=$n')");
    }
    is(sql($database, "SELECT status, attempts, transport, job_name, endpoint_path FROM wee5_cron.wait_for($id, '2 minutes')"),
        "succeeded|2|$transport|t\x{e4}glich $n|$path?n=$n", "$name: a call with a job name and a path that are not ASCII succeeds at its second attempt");
    my @heard = grep { $_->{headers}{'x-wee5-cron-invocation'} eq $id && $_->{url} =~ /\?n=$n\z/ } $receiver->requests;
    is(join(' ', map { $_->{url} } @heard), join(' ', ("/f%C3%BCr-$n/statuses/503,200?n=$n") x 2), '... and its path arrives in UTF-8 at both attempts');
    is(join(' ', map { $_->{headers}{'x-wee5-cron-job'} } @heard), join(' ', ("t%C3%A4glich $n") x 2), '... and so does its job name');
    is(join(' ', map { "$_->{bearer}$_->{headers}{'x-wee5-cron-attempt'}" } @heard), 'match1 match2', '... and so do the bearer and the attempt number');
    is($heard[0]{headers}{'idempotency-key'}, $heard[1]{headers}{'idempotency-key'}, '... and both attempts have the same Idempotency-Key');
    my $post = sql($database, "SELECT wee5_cron.invoke('/echo?post=$n', 'POST', '{\"gr\x{f6}\x{df}e\": \"\x{e9}\"}')");
    is(sql($database, "SELECT status FROM wee5_cron.wait_for($post, '2 minutes')"), 'succeeded', '... and a call with a body that is not ASCII succeeds');
    my ($echo) = grep { $_->{url} eq "/echo?post=$n" } $receiver->requests('/echo');
    is($echo->{body}, "{\"gr\x{f6}\x{df}e\": \"\x{e9}\"}", '... and its body arrives in UTF-8');
    # pg_net keeps the raw bytes of an answer, whatever the encoding of the database is.
    like(sql($database, "SELECT response_body FROM wee5_cron.invocation WHERE id = $post"), qr/gr\x{f6}\x{df}e/, "... and its answer is stored in the database's encoding")
      if $transport eq 'builtin';
    is(sql($database, "SELECT count(*) FROM wee5_cron.doctor() WHERE detail LIKE 'the check failed:%'"), 0, '... and no check of doctor() fails');
    return;
}
calls_arrive($_, 'builtin') for qw(latin1 ascii);

# Bytes that are not UTF-8, if the database accepts them.
is($node->safe_psql('ascii', q{INSERT INTO wee5_cron.job (job_name, endpoint_path) VALUES (E't\344glich', '/bytes')
    RETURNING true}), 't', 'a SQL_ASCII database accepts a job name that is not valid UTF-8');
my $id = $node->safe_psql('ascii', q{SET application_name = 'pg_cron'; SELECT invoke_cron_endpoint('/bytes')});
is($node->safe_psql('ascii', "SELECT status FROM wee5_cron.wait_for($id, '2 minutes')"), 'succeeded', 'a call whose job name is not valid UTF-8 succeeds');
my ($bytes) = $receiver->requests('/bytes');
is($bytes->{headers}{'x-wee5-cron-job'}, 't%EF%BF%BDglich', '... and the app gets the replacement character in the name');
$node->raises('ascii', q{SELECT invoke_cron_endpoint(E'/t\344glich')}, '22021', '... in a path they are refused', message => qr/invalid byte sequence/);

SKIP: {
    skip 'pg_net not available', 40 unless $pg_net;
    $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%' AND datname = 'latin1'}) or die;
    calls_arrive('latin1', 'pg_net');

    # Only the builtin transport has a proxy.
    my $doctor = Wee5Cron::Doctor->new($node, 'latin1');
    $node->set_server('wee5_cron.proxy', 'http://user:canary@127.0.0.1:9');
    my $direct = $node->call('latin1', '/status/200?direct');
    is($node->safe_psql('latin1', "SELECT status, transport FROM wee5_cron.wait_for($direct, '2 minutes')"), 'succeeded|pg_net', 'pg_net ignores wee5_cron.proxy');
    my $hint = $doctor->red('proxy', 'warning', qr/pg_net ignores wee5_cron\.proxy: calls do not go through 127\.0\.0\.1:9/, 'a proxy with pg_net');
    unlike(join(' ', map { "$_->{detail} $_->{hint}" } $doctor->lines('proxy')), qr/canary/, '... and doctor() does not show the password');
    $node->no_retries('latin1', '/put', '/status/200');
    $node->safe_psql('postgres', q{ALTER DATABASE latin1 SET wee5_cron.transport = 'auto'});
    fields_are($node->finished('latin1', $node->call('latin1', '/put', q{'PUT'})), { transport => 'builtin', reason => 'connect' }, 'a call that pg_net cannot send goes through the proxy');
    $doctor->paste($hint, 'a proxy with pg_net: the hint runs as SQL', in => 'latin1');
    fields_are($node->finished('latin1', $node->call('latin1', '/status/200?through')), { transport => 'builtin', reason => 'connect' }, 'after the hint every call goes through the proxy');
    $doctor->green('proxy', 'after the hint', qr/calls go through the proxy 127\.0\.0\.1:9/);
    $node->safe_psql('postgres', 'ALTER SYSTEM RESET wee5_cron.proxy');

    $node->safe_psql('postgres', q{ALTER SYSTEM SET pg_net.database_name = 'ascii'});
    $node->restart;
    $node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%' AND datname = 'ascii'}) or die;
    calls_arrive('ascii', 'pg_net');
}
# LATIN1 has no arrow.
my $config = q({"jobs": {"größe": {"schedule": "0 0 1 1 *", "path": "/größe", "note": "groß"}}});
is(sql('latin1', "SELECT action, job_name, detail FROM wee5_cron.apply('$config')"), 'create|größe|schedule: 0 0 1 1 *; path: /größe; note: none -> groß', 'apply() reports its changes in LATIN1');
is(sql('latin1', "SELECT count(*) FROM wee5_cron.plan('$config')"), 0, '... and after it plan() is empty');

$node->log_is_sane;
done_testing();
