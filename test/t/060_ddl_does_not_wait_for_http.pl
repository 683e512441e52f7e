# While a request hangs, DROP DATABASE, CREATE DATABASE TEMPLATE, RENAME, SET TABLESPACE and DROP EXTENSION succeed, and the
# worker leaves and returns as it should. The request hangs until after each statement, so no statement can have waited for
# it.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "max_worker_processes = 32\nlog_min_messages = debug1");

# A new database in which a request hangs.
sub database_that_hangs {
    my ($name) = @_;
    $receiver->hold;
    my $before = () = $receiver->requests('/hang');
    $node->install($name, api_url => $receiver->url, secret => 'the secret');
    my $id = $node->call($name, '/hang');
    $receiver->wait_for_requests('/hang', $before + 1);
    return $id;
}

# The statement succeeds. A statement that waited for the request would wait for ever, so the server's own timeout would end
# it.
sub goes_through {
    my ($statement, $name, $database) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $error = $node->error_of($database // 'postgres', "SET statement_timeout = '30 s'; $statement");
    return ok(!$error, $name) || diag($error->{text});
}

# The worker is back in that database. It sends the request that hung again, and a new call too.
sub goes_on {
    my ($database, $id, $besides, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $receiver->release_for_good;
    isnt($node->wait_for_worker($database, $besides), '', "$name: a worker is back");
    fields_are($node->finished($database, $id), { status => 'succeeded' }, "$name: the call that hung succeeds");
    fields_are($node->finished($database, $node->call($database, '/next')), { status => 'succeeded' }, "$name: the next call succeeds");
    return;
}

# DROP DATABASE of this database and of another one.
my $id = database_that_hangs('dropped');
my $pid = $node->wait_for_worker('dropped');
goes_through('DROP DATABASE dropped', 'DROP DATABASE while a request hangs in it');
ok($node->wait_until_no_worker('dropped'), "the dropped database's worker is gone");
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 0, '... and its process has ended');

$id = database_that_hangs('kept');
$pid = $node->wait_for_worker('kept');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
goes_through('DROP DATABASE plain', 'DROP DATABASE of another database, which has no extension');
$node->install('another', api_url => $receiver->url, secret => 'the secret');
$node->wait_for_worker('another');
goes_through('DROP DATABASE another', 'DROP DATABASE of another database, which has an idle worker');
is($node->worker_pid('kept'), $pid, '... and the worker of the database that remains is not replaced');
$receiver->release;
fields_are($node->finished('kept', $id), { status => 'succeeded', attempts => 1 }, '... and its request is delivered at the first attempt');

# WITH (FORCE), by an owner who is not a superuser.
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN CREATEDB');
$id = database_that_hangs('owned');
$node->safe_psql('postgres', 'ALTER DATABASE owned OWNER TO owner');
is($node->error_of('postgres', 'DROP DATABASE owned WITH (FORCE)', role => 'owner'), undef,
    'DROP DATABASE WITH (FORCE) by an owner who is not a superuser');
ok($node->wait_until_no_worker('owned'), 'the worker of the database dropped by force is gone');

# A DROP DATABASE that fails: the worker returns.
$id  = database_that_hangs('in_use');
$pid = $node->wait_for_worker('in_use');
my $session = $node->background_psql('in_use');
$node->raises('postgres', 'DROP DATABASE in_use', '55006', 'DROP DATABASE of a database in use fails as usual');
$session->quit;
goes_on('in_use', $id, 0, 'after the failed DROP DATABASE');

# CREATE DATABASE TEMPLATE.
$id  = database_that_hangs('original');
$pid = $node->wait_for_worker('original');
goes_through('CREATE DATABASE copy TEMPLATE original', 'CREATE DATABASE TEMPLATE while a request hangs');
goes_on('original', $id, $pid, 'CREATE DATABASE TEMPLATE');
ok($node->wait_for_worker('copy'), 'the copy has its own worker');

# RENAME and SET TABLESPACE.
$id  = database_that_hangs('before');
$pid = $node->wait_for_worker('before');
goes_through('ALTER DATABASE before RENAME TO after', 'ALTER DATABASE RENAME while a request hangs');
goes_on('after', $id, $pid, 'RENAME');
is($node->safe_psql('after', "SELECT count(*) FROM wee5_cron.worker WHERE datname = 'after'"), 1, "after RENAME the worker appears under the database's new name");

$id  = database_that_hangs('moved');
$pid = $node->wait_for_worker('moved');
my $directory = PostgreSQL::Test::Utils::tempdir_short();
$node->safe_psql('postgres', "CREATE TABLESPACE elsewhere LOCATION '$directory'");
goes_through('ALTER DATABASE moved SET TABLESPACE elsewhere', 'ALTER DATABASE SET TABLESPACE while a request hangs');
goes_on('moved', $id, $pid, 'SET TABLESPACE');

# DROP EXTENSION.
$id = database_that_hangs('extension');
goes_through('DROP EXTENSION wee5_cron', 'DROP EXTENSION while a request hangs', 'extension');
ok($node->wait_until_no_worker('extension'), 'DROP EXTENSION ends the worker');
$receiver->release_for_good;
$node->install('extension');
$id = $node->call('extension', '/again');
fields_are($node->finished('extension', $id), { status => 'succeeded' }, 'after CREATE EXTENSION again a worker delivers calls');

# A DROP EXTENSION that is rolled back changes nothing.
$id  = database_that_hangs('undecided');
goes_through('BEGIN; DROP EXTENSION wee5_cron; ROLLBACK', 'a DROP EXTENSION that is rolled back', 'undecided');
goes_on('undecided', $id, 0, 'after a DROP EXTENSION that was rolled back');

# A CREATE EXTENSION that is rolled back leaves no worker, although a worker looked for the extension in the meantime. The
# server's log shows each look.
$node->safe_psql('postgres', 'CREATE DATABASE never');
my $never = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'never'");
sub looks {
    my @starts = slurp_file($node->logfile) =~ /starting background worker process "wee5_cron worker for database $never"/g;
    return scalar @starts;
}
sub was_looked_at {
    my ($times, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $patience = 600;
    until (looks() >= $times || !$patience--) { select undef, undef, undef, 0.1 }
    ok($node->poll_query_until('another_with_extension', "SELECT count(*) = 0 FROM wee5_cron.worker_slots() WHERE datid = $never"), $name);
    return is(looks(), $times, "... and workers have looked for the extension $times times in all");
}
$node->install('another_with_extension');
was_looked_at(1, 'a new database without the extension has no worker');
my $creating = $node->background_psql('never');
$creating->query_safe('BEGIN; CREATE EXTENSION wee5_cron');
$node->safe_psql('postgres', 'ALTER DATABASE never ALLOW_CONNECTIONS true');
was_looked_at(2, 'a database has no worker while its CREATE EXTENSION is uncommitted');
$creating->query_safe('ROLLBACK');
$creating->quit;
$node->install('later', api_url => $receiver->url, secret => 'the secret');
$node->wait_for_worker('later');
is($node->worker_pid('never'), '', 'a CREATE EXTENSION that is rolled back leaves no worker');
is(looks(), 2, '... and requests none');

# The ledger itself: nothing delays TRUNCATE and VACUUM FULL, and an answer to a call whose row is gone does no harm.
$id  = database_that_hangs('truncated');
$pid = $node->wait_for_worker('truncated');
goes_through("SET lock_timeout = '20 s'; TRUNCATE wee5_cron.invocation, wee5_cron.attempt", 'TRUNCATE of the ledger', 'truncated');
goes_through('VACUUM FULL wee5_cron.invocation', 'VACUUM FULL of the ledger', 'truncated');
$receiver->release_for_good;
fields_are($node->finished('truncated', $node->call('truncated', '/after-truncate')), { status => 'succeeded' },
    'calls after TRUNCATE and VACUUM FULL are delivered');

# A schema of the same name that is not ours: there is no extension, so there is no worker.
$node->safe_psql('postgres', 'CREATE DATABASE impostor');
$node->safe_psql('impostor', 'CREATE SCHEMA wee5_cron; CREATE TABLE wee5_cron.invocation (id bigint)');
ok($node->wait_until_no_worker('impostor'), 'a schema named wee5_cron without the extension has no worker');

$node->log_is_sane;
done_testing();
