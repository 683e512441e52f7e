# Users alter the extension's tables. Each change is respected, or the worker and doctor() name it: no crash, no wrong value,
# no bypassed constraint, no call that stays queued without a reason. When the change is undone, the waiting calls are made,
# once each.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "wal_level = replica\nlog_min_messages = info");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
$doctor->green('ledger_tables', 'new tables', qr/as wee5_cron made them/);
is($node->safe_psql('postgres', q{
    SELECT string_agg(format('%s.%s', c.relname, a.attname), ' ')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind = 'r'
      AND NOT EXISTS (SELECT FROM wee5_cron.table_layout() l
                      WHERE l.table_name = c.relname AND l.column_name = a.attname AND l.column_type = a.atttypid)}),
    '', 'the library knows every column of every table');
my $worker = $node->worker_pid('postgres');

my $tests = 0;
sub sql { return $node->safe_psql('postgres', $_[0]) }

sub deliveries { my ($path) = @_; return scalar(grep { $_->{url} eq $path } $receiver->requests) }

# Makes a call with its own path. Returns its id and path.
sub call_once {
    my ($status) = @_;
    my $path = '/status/' . ($status // 200) . '?n=' . ++$tests;
    return ($node->call('postgres', $path), $path);
}

sub worker { return $node->one_row('postgres', 'SELECT state, last_error, pid FROM wee5_cron.worker') }

# The change is respected: the call succeeds, with one delivery and an attempt whose numbers are right.
sub honoured {
    my ($ddl, $undo, $name, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    sql($ddl);
    my ($id, $path) = call_once();
    my $row = $node->finished('postgres', $id);
    fields_are($row, { status => 'succeeded', http_status => 200, attempts => 1 }, "$name: the call succeeds");
    is(deliveries($path), 1, '... and the app got its request once');
    if ($params{attempt} // 1) {
        my $sane = sql("SELECT total_ms::text::float8 BETWEEN 0.001 AND 60000 AND first_byte_ms::text::float8 <= total_ms::text::float8
                        FROM wee5_cron.attempt WHERE invocation_id = $id");
        is($sane, 't', '... and its attempt has the right duration');
    }
    $params{then}->($id, $path) if $params{then};
    sql($undo) if $undo;
    return $id;
}

# The change stops the worker, which names it, and so does doctor(). When it is undone the call is made once.
sub named {
    my ($ddl, $undo, $what, $name, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($id, $path) = $params{before} ? $params{before}->() : ();
    sql($ddl) if $ddl;
    ($id, $path) = call_once($params{fails} ? 500 : 200) unless $id;
    $node->poll_query_until('postgres', "SELECT state = 'blocked' FROM wee5_cron.worker")
      or return fail("$name: the worker is not blocked");
    # The lock of the ALTER TABLE may be what blocks it first.
    $node->poll_query_until('postgres', "SELECT last_error <> '' AND last_error !~ 'has locked' FROM wee5_cron.worker");
    like(worker()->{last_error}, $what, "$name: last_error of the worker names the change");
    my @lines = grep { $_->{status} eq 'error' && $_->{detail} =~ $what } $doctor->lines;
    ok(@lines, '... and so does doctor()');
    ok((grep { $_->{check_name} eq 'ledger_tables' && $_->{status} eq 'warning' && $_->{detail} =~ $what } $doctor->lines), '... and ledger_tables warns of it') if $params{warns};
    if ($params{hint}) {
        my ($line) = grep { $_->{check_name} eq 'ledger_tables' } @lines;
        $doctor->paste($line ? $line->{hint} : 'SELECT no_line()', '... and the hint runs as SQL');
    }
    else { sql($undo) }
    my $row = $node->finished('postgres', $id);
    fields_are($row, { status => $params{fails} ? 'failed' : 'succeeded' }, '... and once the change is undone the call ends');
    is(deliveries($path), 1, '... and the app got its request once');
    $node->poll_query_until('postgres', "SELECT coalesce(last_error, '') = '' FROM wee5_cron.worker") or fail('the error stays');
    $doctor->green('ledger_tables', 'after the change was undone');
    return;
}

# --- attempt: it is read by statements only --------------------------------------------------------------------------
my $attempt = 'ALTER TABLE wee5_cron.attempt';
for my $type ('numeric', 'double precision', 'text', 'numeric(12,3)') {
    honoured("$attempt ALTER total_ms TYPE $type USING total_ms::text::$type", "$attempt ALTER total_ms TYPE real USING total_ms::real",
        "attempt.total_ms as $type");
}
honoured("$attempt ALTER started_at TYPE timestamptz(0), ALTER http_status TYPE smallint, ALTER error TYPE varchar(200)",
    "$attempt ALTER started_at TYPE timestamptz, ALTER http_status TYPE int, ALTER error TYPE text", 'narrower types of attempt',
    then => sub {
        is(sql("SELECT date_trunc('second', started_at) = started_at FROM wee5_cron.attempt WHERE invocation_id = $_[0]"), 't',
            "times are rounded as the column's type says");
    });
honoured("$attempt ADD note text", "$attempt DROP note", 'a new column of attempt');
honoured("$attempt ADD seen timestamptz NOT NULL DEFAULT now()", "$attempt DROP seen", 'a column of attempt with a default',
    then => sub { is(sql("SELECT seen IS NOT NULL FROM wee5_cron.attempt WHERE invocation_id = $_[0]"), 't', '... which it has') });
honoured("$attempt ADD slow boolean GENERATED ALWAYS AS (total_ms > 0) STORED", "$attempt DROP slow", 'a generated column of attempt',
    then => sub { is(sql("SELECT slow FROM wee5_cron.attempt WHERE invocation_id = $_[0]"), 't', '... which is generated') });
named("$attempt DROP dns_ms", undef, qr/dns_ms/, 'a column of attempt is dropped', hint => 1);
named("$attempt RENAME total_ms TO total", "$attempt RENAME total TO total_ms", qr/total_ms/, 'a column of attempt is renamed');
named("$attempt ADD must text; $attempt ADD CONSTRAINT must_be CHECK (must IS NOT NULL) NOT VALID", "$attempt DROP must", qr/must_be/,
    'a CHECK on attempt that no attempt satisfies');
named("TRUNCATE wee5_cron.attempt; $attempt ALTER reason SET NOT NULL", "$attempt ALTER reason DROP NOT NULL", qr/"reason"/, 'NOT NULL on attempt');
sql('TRUNCATE wee5_cron.attempt');
honoured("$attempt ADD CONSTRAINT one_each EXCLUDE USING btree (http_status WITH =)", undef, 'an exclusion constraint on attempt, the first time');
honoured('SELECT 1', "$attempt DROP CONSTRAINT one_each", '... and the second time', attempt => 0,
    then => sub { is(sql('SELECT count(*) FROM wee5_cron.attempt WHERE http_status = 200'), 1, '... there is one such attempt, no more') });
named('CREATE PUBLICATION p FOR TABLE wee5_cron.invocation WHERE (status = $$failed$$)', 'DROP PUBLICATION p', qr/"p".*\bstatus\b|"invocation"/,
    'a publication with a row filter');

# --- invocation: the worker reads it without a statement -----------------------------------------------------------
my $invocation = 'ALTER TABLE wee5_cron.invocation';
honoured("$invocation ALTER duration TYPE text USING duration::text, ALTER http_status TYPE bigint", "$invocation ALTER duration TYPE interval USING duration::interval, ALTER http_status TYPE int",
    'other types for columns that the worker only writes');
honoured("$invocation ALTER endpoint_path TYPE varchar(500), ALTER job_name TYPE varchar(63)", "$invocation ALTER endpoint_path TYPE text, ALTER job_name TYPE text", 'varchar in place of text');
honoured("CREATE DOMAIN public.path AS text CHECK (VALUE LIKE '/%'); $invocation ALTER endpoint_path TYPE public.path",
    "$invocation ALTER endpoint_path TYPE text; DROP DOMAIN public.path", 'a domain');
honoured("$invocation ALTER finished_at TYPE timestamptz(0)", "$invocation ALTER finished_at TYPE timestamptz", 'a time of whole seconds',
    then => sub { is(sql("SELECT date_trunc('second', finished_at) = finished_at FROM wee5_cron.invocation WHERE id = $_[0]"), 't', '... which is rounded') });
honoured("$invocation ADD tenant text NOT NULL DEFAULT 'a'", "$invocation DROP tenant", 'a column of invocation',
    then => sub { is(sql("SELECT tenant FROM wee5_cron.invocation WHERE id = $_[0]"), 'a', '... keeps its value') });
honoured("$invocation ADD failed boolean GENERATED ALWAYS AS (status <> 'succeeded') STORED", "$invocation DROP failed", 'a generated column of invocation',
    then => sub { is(sql("SELECT failed FROM wee5_cron.invocation WHERE id = $_[0]"), 'f', '... is generated') });
sql('DELETE FROM wee5_cron.invocation');
my %default = (headers => q('{}'), idempotency_key => 'gen_random_uuid()', id => q(nextval('wee5_cron.invocation_id_seq')));
for my $case ([ 'timeout', 'text', 'interval' ], [ 'requested_by', 'text', 'name' ], [ 'idempotency_key', 'text', 'uuid' ],
    [ 'headers', 'text', 'jsonb' ], [ 'scheduled_at', 'timestamp', 'timestamptz' ], [ 'attempts', 'numeric', 'int' ], [ 'id', 'numeric', 'bigint' ])
{
    my ($column, $type, $was) = @$case;
    my $change = sub {
        my ($to) = @_;
        my $again = $default{$column} ? "ALTER TABLE wee5_cron.invocation ALTER $column SET DEFAULT $default{$column};" : '';
        my $drop = $again ? "ALTER $column DROP DEFAULT," : '';
        return "$invocation $drop ALTER $column TYPE $to USING $column\::text\::$to; $again";
    };
    named(undef, $change->($was), qr/"?$column"? .*has type/, "invocation.$column as $type",
        before => sub { return queued_with($change->($type)) });
}
named(undef, "$invocation RENAME endpoint_route TO endpoint_path", qr/endpoint_path/, 'a column of invocation is renamed',
    before => sub { return queued_with("$invocation RENAME endpoint_path TO endpoint_route;") });
named(undef, undef, qr/invocation_open/, 'the index of what is open is dropped', hint => 1,
    before => sub { return queued_with('DROP INDEX wee5_cron.invocation_open;') });
named(undef, "DROP INDEX wee5_cron.invocation_open; CREATE INDEX invocation_open ON wee5_cron.invocation (transport, (split_part(endpoint_path, '?', 1)) COLLATE \"C\", id) WHERE finished_at IS NULL AND next_attempt_at IS NULL",
    qr/invocation_open/, '... and another one has its name',
    before => sub { return queued_with('DROP INDEX wee5_cron.invocation_open; CREATE INDEX invocation_open ON wee5_cron.invocation (id, status, method);') });
named(undef, "$invocation ADD PRIMARY KEY (id)", qr/primary key/, 'the primary key is dropped',
    before => sub { return queued_with("$invocation DROP CONSTRAINT invocation_pkey;") });

# A type that can hold some texts and not others.
$node->no_retries('postgres', '/status/500');
named('ALTER TABLE wee5_cron.trouble ALTER name TYPE varchar(2)', 'ALTER TABLE wee5_cron.trouble ALTER name TYPE text', qr/character varying\(2\)/,
    'a limit to the length of trouble.name', warns => 1, fails => 1);

# The sequence of the ids.
for my $start (0, -5) {
    sql("ALTER SEQUENCE wee5_cron.invocation_id_seq MINVALUE -10 INCREMENT BY -1 RESTART $start");
    $node->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '2200H', "a sequence that is at $start", message => qr/must be positive, but the call got $start$/, hint => qr/invocation_id_seq/);
}
honoured("ALTER SEQUENCE wee5_cron.invocation_id_seq INCREMENT BY 7 MINVALUE 1 MAXVALUE 100000 START 1 RESTART 90000 CYCLE", undef, 'ids that increase in steps');
honoured("ALTER SEQUENCE wee5_cron.invocation_id_seq INCREMENT BY 1 NO MAXVALUE RESTART 7 NO CYCLE", undef, 'ids that start again');

# A call that is queued in the transaction of the change, so that no caller has to write the altered table.
sub queued_with {
    my ($ddl) = @_;
    my $path = '/status/200?n=' . ++$tests;
    my $id = sql("BEGIN; SELECT invoke_cron_endpoint('$path'); $ddl COMMIT");
    return ($id, $path);
}
SKIP: {
    skip 'there are no unlogged sequences before PostgreSQL 15', 3 if $node->safe_psql('postgres', 'SHOW server_version_num') < 150000;
    sql('ALTER SEQUENCE wee5_cron.invocation_id_seq SET UNLOGGED');
    $doctor->red_then_green('ledger_tables', 'warning', qr/the sequence wee5_cron\.invocation_id_seq is unlogged/, 'ids that a crash would give again');
}
is(worker()->{pid}, $worker, 'the worker was never replaced');
$node->log_is_sane;
done_testing();
