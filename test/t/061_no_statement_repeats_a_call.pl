# No administrator's command repeats a call. A statement that needs the database to itself lets requests on the wire finish
# first. A statement that is certain to fail leaves the worker alone.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', preload => 'wee5_cron', init => { allows_streaming => 'logical' }, conf => "max_worker_processes = 32\nmax_prepared_transactions = 5");
my @app = (api_url => $receiver->url, secret => 'the secret');
my $number = 0;

$node->safe_psql('postgres', 'CREATE DATABASE taken');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; CREATE ROLE creator LOGIN CREATEDB');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$directory'");

# How many requests the app got for a path.
sub heard {
    my ($path) = @_;
    return scalar(my @requests = grep { $_->{url} eq $path } $receiver->requests);
}

# A request that hangs, as a first attempt or as a retry.
sub hang {
    my ($database, $policy) = @_;
    my $path = '/hang?n=' . ++$number;
    # Longer than all failing statements take together.
    $node->policy($database, $path, retry_on => $policy, timeout => '10 minutes');
    my $id = $node->call($database, $path);
    $node->poll_query_until($database, "SELECT in_flight > 0 FROM wee5_cron.worker WHERE datname = '$database'") or die;
    my $patience = 1000;
    until (heard($path) || !$patience--) { select undef, undef, undef, 0.1 }
    return ($id, $path);
}

sub was_made_once {
    my ($database, $id, $path, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fields_are($node->finished($database, $id), { status => 'succeeded', attempts => 1 }, $name);
    is(heard($path), 1, "$name: the app got its request once");
    return;
}

# Statements that fail, or that do not concern the database: the worker stays, and so does the request.
$node->install($_, @app, pg_cron => 0) for qw(postgres other);
$node->safe_psql('postgres', "CREATE DATABASE flagged IS_TEMPLATE true");
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER creator');
$node->install('owned', @app, pg_cron => 0);
my @fail = (
    [ 'DROP DATABASE in a transaction block'   => 'BEGIN; DROP DATABASE other', '25001' ],
    [ 'DROP DATABASE in a function'            => q{DO $$ BEGIN EXECUTE 'DROP DATABASE other'; END $$}, '25001' ],
    [ 'DROP DATABASE WITH (FORCE) in a block'  => 'BEGIN; DROP DATABASE other WITH (FORCE)', '25001' ],
    [ 'DROP DATABASE of itself'                => 'DROP DATABASE other', '55006', database => 'other' ],
    [ 'DROP DATABASE by a stranger'            => 'DROP DATABASE other', '42501', role => 'stranger' ],
    [ 'DROP DATABASE in a read-only session'   => 'SET default_transaction_read_only = on; DROP DATABASE other', '25006' ],
    [ 'CREATE DATABASE of a name that exists'  => 'CREATE DATABASE taken TEMPLATE other', '42P04' ],
    [ 'CREATE DATABASE in a transaction block' => 'BEGIN; CREATE DATABASE copy TEMPLATE other', '25001' ],
    [ 'CREATE DATABASE by a stranger'          => 'CREATE DATABASE copy TEMPLATE other', '42501', role => 'stranger' ],
    [ "CREATE DATABASE from another's"         => 'CREATE DATABASE copy TEMPLATE other', '42501', role => 'creator' ],
    [ 'CREATE DATABASE by an unknown owner'    => 'CREATE DATABASE copy TEMPLATE other OWNER nobody', '42704' ],
    [ 'CREATE DATABASE in no tablespace'       => 'CREATE DATABASE copy TEMPLATE other TABLESPACE nowhere', '42704' ],
    [ 'CREATE DATABASE in pg_global'           => 'CREATE DATABASE copy TEMPLATE other TABLESPACE pg_global', '22023' ],
    [ "CREATE DATABASE in another's space"     => 'CREATE DATABASE copy TEMPLATE owned TABLESPACE elsewhere', '42501', role => 'creator' ],
    [ "CREATE DATABASE for another's role"     => 'CREATE DATABASE copy TEMPLATE owned OWNER stranger', '42501', role => 'creator' ],
    [ 'CREATE DATABASE in another encoding'    => "CREATE DATABASE copy TEMPLATE other ENCODING 'LATIN1'", '22023' ],
    [ 'CREATE DATABASE in no encoding'         => "CREATE DATABASE copy TEMPLATE other ENCODING 'nonsense'", '42704' ],
    [ 'CREATE DATABASE in no locale'           => "CREATE DATABASE copy TEMPLATE other LOCALE 'nonsense'", '42809' ],
    [ 'CREATE DATABASE by no strategy'         => "CREATE DATABASE copy TEMPLATE other STRATEGY 'nonsense'", '22023' ],
    [ 'CREATE DATABASE with an option twice'   => 'CREATE DATABASE copy TEMPLATE other CONNECTION LIMIT 1 CONNECTION LIMIT 2', '42601' ],
    [ 'CREATE DATABASE from one that is not'   => 'CREATE DATABASE copy TEMPLATE nothing', '3D000' ],
    [ 'RENAME to a name that exists'           => 'ALTER DATABASE other RENAME TO taken', '42P04' ],
    [ 'RENAME by a stranger'                   => 'ALTER DATABASE other RENAME TO mine', '42501', role => 'stranger' ],
    [ 'RENAME of itself'                       => 'ALTER DATABASE other RENAME TO mine', '0A000', database => 'other' ],
    [ 'SET TABLESPACE in a transaction block'  => 'BEGIN; ALTER DATABASE other SET TABLESPACE elsewhere', '25001' ],
    [ 'SET TABLESPACE that does not exist'     => 'ALTER DATABASE other SET TABLESPACE nowhere', '42704' ],
    [ "SET TABLESPACE to another's"            => 'ALTER DATABASE owned SET TABLESPACE elsewhere', '42501', role => 'creator' ],
    [ 'SET TABLESPACE with other options'      => 'ALTER DATABASE other TABLESPACE elsewhere CONNECTION LIMIT 7', '0A000' ],
    [ 'SET TABLESPACE of itself'               => 'ALTER DATABASE other SET TABLESPACE elsewhere', '55006', database => 'other' ],
    [ 'SET TABLESPACE where it is'             => 'ALTER DATABASE other SET TABLESPACE pg_default', undef ],
    [ 'CONNECTION LIMIT'                       => 'ALTER DATABASE other CONNECTION LIMIT 7', undef ],
    [ 'OWNER'                                  => 'BEGIN; ALTER DATABASE other OWNER TO creator; ROLLBACK', undef ],
    [ 'DROP DATABASE of another one'           => 'CREATE DATABASE nothing; DROP DATABASE nothing', undef ],
);
# What belongs to a database, and keeps it from being dropped.
my $subscribe = q{CREATE SUBSCRIPTION s CONNECTION 'dbname=postgres' PUBLICATION p WITH (connect = false)};
push @fail, [ 'DROP DATABASE of a subscriber' => 'DROP DATABASE other', '55006' ], [ 'DROP DATABASE WITH (FORCE) of a subscriber' => 'DROP DATABASE other WITH (FORCE)', '55006' ];
my ($id, $path) = hang('other', 'never');
my ($again, $again_path) = hang('other', 'transient');
my ($owned, $owned_path) = hang('owned', 'never');
my $worker = $node->worker_pid('other');
my $worker_of_owned = $node->worker_pid('owned');
$node->safe_psql('other', $subscribe);
for my $case (@fail) {
    my ($name, $sql, $sqlstate, %more) = @$case;
    my $database = delete $more{database} // 'postgres';
    my $error = $node->error_of($database, $sql, %more);
    is($error ? $error->{sqlstate} : undef, $sqlstate, $name) || diag($error->{text});
    is($node->worker_pid('other'), $worker, '... and the worker stays');
    is($node->worker_pid('owned'), $worker_of_owned, '... and that of the other database, too');
}
is_deeply([ $node->rows('postgres', "SELECT in_flight, state FROM wee5_cron.worker WHERE datname = 'other'") ],
    [ { in_flight => 2, state => 'sending' } ], 'both requests are still on the wire');

$node->safe_psql('other', 'ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s');

# A logical replication slot is in use: DROP DATABASE fails, also WITH (FORCE).
{
    $node->safe_psql('other', q{SELECT pg_create_logical_replication_slot('slot', 'pgoutput'); CREATE PUBLICATION p});
    my $output = '';
    my $reader = IPC::Run::start([ 'pg_recvlogical', '--dbname', $node->connstr('other'), '--slot=slot', '--start', '--file=-',
        '--option=proto_version=1', '--option=publication_names=p' ], '>', \$output, '2>', \$output);
    $node->poll_query_until('postgres', q{SELECT active FROM pg_replication_slots WHERE slot_name = 'slot'}) or die $output;
    for my $sql ('DROP DATABASE other', 'DROP DATABASE other WITH (FORCE)') {
        $node->raises('postgres', $sql, '55006', "$sql fails while a slot is active");
        is($node->worker_pid('other'), $worker, '... and the worker stays');
    }
    $reader->kill_kill;
    $node->poll_query_until('postgres', q{SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'slot'}) or die;
    $node->safe_psql('other', q{SELECT pg_drop_replication_slot('slot'); DROP PUBLICATION p});
}

# WITH (FORCE) may not end a superuser's session for the database's owner.
{
    my $session = $node->background_psql('owned');
    $session->query_safe('SELECT 1');
    $node->raises('postgres', 'DROP DATABASE owned WITH (FORCE)', '42501', "DROP DATABASE WITH (FORCE) fails while a superuser is connected to an owner's database", role => 'creator');
    is($node->worker_pid('owned'), $worker_of_owned, '... and the worker stays');
    $session->quit;
}

# A transaction is prepared: the statement fails, WITH (FORCE) at once, else after Postgres has waited for it to end.
$node->safe_psql('other', "BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'p'");
for my $sql ('DROP DATABASE other WITH (FORCE)', 'DROP DATABASE other', 'ALTER DATABASE other RENAME TO another') {
    $node->raises('postgres', $sql, '55006', "$sql fails while a transaction is prepared");
    is($node->worker_pid('other'), $worker, '... and the worker stays');
}
$node->safe_psql('other', "ROLLBACK PREPARED 'p'");

# A session is connected: the statement fails, after Postgres has waited for that session.
my $session = $node->background_psql('other');
$node->raises('postgres', 'DROP DATABASE other', '55006', 'DROP DATABASE fails while a session is connected');
is($node->worker_pid('other'), $worker, '... and the worker stays');
my $next = $node->call('other', '/next');
fields_are($node->finished('other', $next), { status => 'succeeded' }, '... and the next call succeeds');
$session->quit;
$receiver->release_for_good;
was_made_once('other', $id, $path, "under retry_on = 'never', a call on the wire during failing statements");
was_made_once('other', $again, $again_path, "under retry_on = 'transient', a call on the wire during failing statements");
was_made_once('owned', $owned, $owned_path, "in an owner's database, a call on the wire during failing statements");

# A session is connected and leaves after a while: the statement succeeds.
{
    my $leaves = $node->background_psql('other');
    my $pid = $leaves->query_safe('SELECT pg_backend_pid()');
    my $drop = $node->background_psql('postgres');
    my $drop_pid = $drop->query_safe('SELECT pg_backend_pid()');
    $drop->query_until(qr/begun/, "\\echo begun\nALTER DATABASE other RENAME TO renamed;\n");
    $node->wait_until_no_worker('other');
    $leaves->quit;
    is($drop->query_safe("SELECT count(*) FROM pg_database WHERE datname = 'renamed'"), 1, 'RENAME succeeds once the connected session has left');
    $drop->quit;
    $node->safe_psql('postgres', 'ALTER DATABASE renamed RENAME TO other');
}

# Statements that succeed: requests on the wire finish first, and no new ones begin meanwhile.
my $slow = 1500;
sub lets_calls_end {
    my ($name, $sql, $after, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @calls;
    for my $policy (qw(never unprocessed transient)) {
        my $path = "/slow?ms=$slow&n=" . ++$number;
        $node->policy('other', $path, retry_on => $policy);
        push @calls, { id => $node->call('other', $path), path => $path };
    }
    my $patience = 1000;
    until (3 == grep { heard($_->{path}) } @calls or !$patience--) { select undef, undef, undef, 0.02 }
    is($node->error_of('postgres', $sql), undef, $name);
    is(heard($_->{path}), 1, '... and the app got its request once') for @calls;
    return unless defined $after;
    fields_are($node->finished($after, $_->{id}), { status => 'succeeded', attempts => 1 }, '... and it succeeded at the first attempt') for @calls;
    fields_are($node->finished($after, $node->call($after, '/next')), { status => 'succeeded' }, '... and the next call succeeds');
    return;
}
lets_calls_end('CREATE DATABASE TEMPLATE', 'CREATE DATABASE copy TEMPLATE other', 'other');
# What the statement says, it says once, and so does the log.
{
    my $log = -s $node->logfile;
    my ($status, $out, $err) = $node->psql('postgres', q{SET client_min_messages = debug1; CREATE DATABASE "Copy" TEMPLATE other TABLESPACE elsewhere CONNECTION LIMIT 3});
    is($status, 0, 'CREATE DATABASE with options succeeds') or diag($err);
    is($node->safe_psql('postgres', q{SELECT datconnlimit FROM pg_database WHERE datname = 'Copy'}), 3, '... with these options');
    unlike(slurp_file($node->logfile, $log), qr/already exists/, '... and the log has no error');
}
lets_calls_end('RENAME', 'ALTER DATABASE other RENAME TO another; ALTER DATABASE another RENAME TO other', 'other');
lets_calls_end('RENAME that is rolled back', 'BEGIN; ALTER DATABASE other RENAME TO another; ROLLBACK', 'other');
lets_calls_end('SET TABLESPACE', 'ALTER DATABASE other SET TABLESPACE elsewhere', 'other');

# Two statements at once on one database: the second one to end releases it.
{
    my @sessions = map { $node->background_psql('postgres') } 1, 2;
    $sessions[0]->query_safe('BEGIN; ALTER DATABASE other RENAME TO another');
    my $waits = $sessions[1]->query_safe('SELECT pg_backend_pid()');
    $sessions[1]->query_until(qr/begun/, "\\echo begun\nCREATE DATABASE second TEMPLATE other;\n");
    $node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $waits") or die 'the second does not wait';
    $sessions[0]->query_safe('ROLLBACK');
    is($sessions[1]->query_safe("SELECT count(*) FROM pg_database WHERE datname = 'second'"), 1, 'the second of two statements at once succeeds');
    $_->quit for @sessions;
    fields_are($node->finished('other', $node->call('other', '/next')), { status => 'succeeded' }, '... and the next call succeeds');
}
{
    my @sessions = map { $node->background_psql('postgres') } 1, 2;
    $_->query_safe('SELECT 1') for @sessions;
    my @made = map { my $path = "/slow?ms=$slow&n=" . ++$number; { path => $path, id => $node->call('other', $path) } } 1 .. 2;
    my $patience = 1000;
    until (2 == grep { heard($_->{path}) } @made or !$patience--) { select undef, undef, undef, 0.02 }
    $sessions[$_]->query_until(qr/begun/, "\\echo begun\nCREATE DATABASE both$_ TEMPLATE other;\n") for 0, 1;
    is($sessions[$_]->query_safe("SELECT count(*) FROM pg_database WHERE datname = 'both$_'"), 1, 'CREATE DATABASE copy $_ of two at once succeeds') for 0, 1;
    $_->quit for @sessions;
    was_made_once('other', $_->{id}, $_->{path}, 'during two copies at once, a call on the wire') for @made;
    fields_are($node->finished('other', $node->call('other', '/next')), { status => 'succeeded' }, '... and the next call succeeds');
}

# When a statement that waits for requests is cancelled, the worker goes on.
{
    $receiver->hold;
    my ($hanging, $path) = hang('other', 'never');
    my $pid = $node->worker_pid('other');
    $node->raises('postgres', "SET statement_timeout = '500ms'; DROP DATABASE other", '57014', 'a DROP DATABASE that waits for a request can be cancelled');
    is($node->worker_pid('other'), $pid, '... and the worker stays');
    fields_are($node->finished('other', $node->call('other', '/next')), { status => 'succeeded' }, '... and sends the next call');
    $receiver->release_for_good;
    was_made_once('other', $hanging, $path, 'during a cancelled DROP DATABASE, a call on the wire');
}

# No statement waits for ever: after ten seconds the request is cut off.
{
    $receiver->hold;
    my ($hanging, $path) = hang('other', 'never');
    is($node->error_of('postgres', "SET statement_timeout = '30 s'; ALTER DATABASE other RENAME TO another"), undef, 'RENAME succeeds although a request never ends');
    $receiver->release_for_good;
    fields_are($node->finished('another', $hanging), { status => 'failed', reason => 'lost', attempts => 1 }, '... and its call is lost, because its policy forbids a repeat');
    is(heard($path), 1, '... and the app got its request once');
    $node->safe_psql('postgres', 'ALTER DATABASE another RENAME TO other');
}

lets_calls_end('DROP DATABASE', 'DROP DATABASE other', undef);

$node->log_is_sane;
done_testing();
