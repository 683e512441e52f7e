# What the portable edition advises, the owner of a project can do: no statement that takes a superuser, no setting of the server,
# no write to pg_cron's table. Where only the host can help, the hint is a comment that says so.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Doctor;
use Wee5Cron::Hosted;

# The test itself answers calls.
local $ENV{WEE5_PG_NET} = 'stand-in';
my $secret   = 'canary-of-the-advice';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
$node->install_portable;
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->remove_harvest_job;
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

# Behind "--", a hint may quote what the host has to run.
my $beyond = qr/${\ join '|', 'ALTER SYSTEM', 'ALTER DATABASE \S+ SET', 'ALTER ROLE \S+ (?:SUPERUSER|NOSUPERUSER|BYPASSRLS)', '\bsuperuser', 'restart the server',
  'postgresql\.conf', 'pg_hba\.conf', 'pg_reload_conf', '(?:UPDATE|INSERT INTO) cron\.job\b', 'username =>', "wee5_cron\\.(?:ca_file|connect_timeout|proxy|protect_secret)",
  "set\\('(?:ca_file|connect_timeout|proxy|transport)", 'builtin transport'}/;
sub can_be_followed { my ($hint, $name) = @_; return unlike($hint =~ s/^-- .*//gmr, $beyond, "$name: its owner can follow the hint") || diag($hint) }

# --- every text in the functions that reads like such advice, in the words of this edition ---------------------------

# The literals of a body, with those that are joined to one, and an example in the place of what is put in.
sub literals {
    my ($body) = @_;
    $body =~ s/^\s*--.*\n//gm;
    $body =~ s/'\s*\|\|\s*(?:quote_literal|printable|wee5_cron\.printable)\([^()]*\)\s*\|\|\s*'/''value''/g;
    $body =~ s/'\s*\|\|\s*E?'//g;
    $body =~ s/'\s*\n\s*'//g;
    my @literals = $body =~ /'((?:[^']|'')*)'/g;
    s/''/'/g, s/\\n/\n/g, s/%(?:\d+\$)?I/name/g, s/%(?:\d+\$)?L/'value'/g, s/= %s/= 'value'/g, s/%(?:\d+\$)?s/7/g, s/%%/%/g for @literals;
    return grep { !/\\/ } @literals;    # the others are regular expressions
}
my %said;
for my $function ($node->rows('postgres', "SELECT p.proname AS name, p.prosrc AS body FROM pg_proc p WHERE p.pronamespace = 'wee5_cron'::regnamespace AND p.proname NOT IN ('hint_here', 'alter_cron_job')")) {
    $said{$_} //= $function->{name} for grep { $_ =~ $beyond } literals($function->{body});
}
cmp_ok(scalar keys %said, '>', 15, 'the functions contain advice for other servers');
for my $text (sort keys %said) {
    my $quoted = "'" . ($text =~ s/'/''/gr) . "'";
    can_be_followed($node->as_owner("SELECT wee5_cron.hint_here($quoted)"), "$said{$text}(): " . substr($text =~ s/\s+/ /gr, 0, 60));
}

# --- hints as they are shown -----------------------------------------------------------------------------------------

# The hint of a check of doctor(), on a server that `sql` has changed.
sub hint_after {
    my ($sql, $check, $name) = @_;
    $node->safe_psql('postgres', $sql);
    my ($line) = grep { $_->{status} ne 'ok' } $doctor->lines($check);
    ok($line, "$name: $check reports it") or return '';
    can_be_followed($line->{hint} // '', $name);
    is($node->error_of('postgres', "BEGIN; $line->{hint}\n; ROLLBACK", role => 'postgres'), undef, '... and the owner can paste it');
    return $line->{hint};
}
like(hint_after('REVOKE ALL ON cron.job FROM postgres, PUBLIC; ALTER ROLE postgres NOBYPASSRLS; REVOKE pg_read_all_data FROM postgres', 'pg_cron_readable', "pg_cron's tables cannot be read"),
    qr/^-- Only your host can change that: ask its support to run\n-- ALTER ROLE postgres BYPASSRLS;\n-- GRANT USAGE ON SCHEMA cron TO postgres;\n-- GRANT SELECT ON [^\n]+;$/, '... and the hint has what the host is to run');
$node->safe_psql('postgres', 'GRANT SELECT ON cron.job TO postgres; ALTER ROLE postgres BYPASSRLS; GRANT pg_read_all_data TO postgres');

# Triggers on pg_net's tables, which belong to the host. Their names are text of others.
$node->as_owner(q{CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'});
# From PostgreSQL 19 on, the name of a role has no line break.
my $role = $node->pg_version < '19devel' ? qq{"odd%s\nrole"} : '"odd%s role"';
$node->safe_psql('postgres', "CREATE ROLE $role LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO $role; SET ROLE $role;"
      . q{CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'});
my $hint = hint_after(q{GRANT TRIGGER ON net.http_request_queue TO PUBLIC; CREATE TRIGGER "50%s" BEFORE INSERT ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION public.spy()}, 'pg_net_tampering', "a trigger on pg_net's queue");
like($hint, qr/^DROP FUNCTION (?:public\.)?spy\(\) CASCADE;\n-- as its owner, role "postgres"/, '... whose function the owner can drop');
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', '... and calls are refused', role => 'postgres', hint => qr/pg_net_tampering of wee5_cron\.doctor\(\)/);
$node->as_owner($hint);
$doctor->green('pg_net_tampering', 'after the hint');
$node->safe_psql('postgres', qq{CREATE TRIGGER "x\nSELECT 1/0; --" BEFORE INSERT ON net._http_response FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
    CREATE TRIGGER theirs BEFORE INSERT ON net._http_response FOR EACH ROW EXECUTE FUNCTION public.theirs()});
my ($line) = grep { $_->{status} ne 'ok' } $doctor->lines('pg_net_tampering');
like($line->{hint}, qr/^-- Only the owner of the table can remove it, role "supabase_admin":$/m, 'a trigger whose function nobody can drop');
is(join("\n", grep { !/^--/ } split /\n/, $line->{hint}), 'DROP FUNCTION public.theirs() CASCADE;', '... and no line of the hint comes from a name');
$node->safe_psql('postgres', 'DROP FUNCTION public.theirs() CASCADE; ' . qq{DROP TRIGGER "x\nSELECT 1/0; --" ON net._http_response});

# Runs that pg_cron logged as failed, and jobs of roles that are gone.
my $job = $node->as_owner("SELECT jobid FROM cron.job WHERE jobname = 'poll-activities'");
for my $message ('connection failed', 'job startup timeout', 'permission denied for schema wee5_cron', 'ERROR:  x') {
    hint_after("INSERT INTO cron.job_run_details (jobid, runid, status, return_message, start_time, end_time) VALUES ($job, nextval('cron.runid_seq'), 'failed', '$message', now(), now())", 'job_last_run', "a run that failed with \"$message\"");
}
hint_after("UPDATE cron.job SET username = 'gone' WHERE jobid = $job", 'job_owner', 'a job of a role that does not exist');
my $error = $node->error_of('postgres', "SELECT wee5_cron.run_now('poll-activities')", role => 'postgres');
can_be_followed($error->{hint} // '', 'run_now() of such a job');
$node->safe_psql('postgres', "UPDATE cron.job SET username = 'postgres' WHERE jobid = $job");

# Errors of calls, and what the ledger says of them.
for my $call ("SELECT wee5_cron.invoke('/x', 'POST', to_jsonb(repeat('x', 1100000)))", "INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/x', 'POST', to_jsonb(repeat('x', 1100000)))",
    "SELECT wee5_cron.configure('http://app.example.com')", "SELECT wee5_cron.set('alert_url', 'http://hooks.example.com/x')", "SELECT wee5_cron.configure_target('billing', 'http://billing.example.com', 'a secret that is long')")
{
    my $error = $node->error_of('postgres', $call, role => 'postgres');
    ok($error, 'refused: ' . substr $call, 0, 60);
    can_be_followed($error->{hint} // '', '... ');
}
$node->as_owner("UPDATE wee5_cron.endpoint SET max_attempts = 1 WHERE true");
for my $words ("Couldn't connect to server", 'Timeout was reached', 'Timeout of 5000 ms reached', 'SSL certificate problem: unable to get local issuer certificate', 'error setting certificate file: /etc/ssl/roots.pem', 'SSL connect error', 'Could not resolve host: app', 'SSL: no alternative certificate subject name matches', 'x') {
    $node->policy('postgres', '/x', max_attempts => 1);
    my $id = $node->as_owner("SELECT invoke_cron_endpoint('/x')");
    my $quoted = $words =~ s/'/''/gr;
    $node->safe_psql('postgres', "BEGIN; DELETE FROM net.http_request_queue WHERE true; INSERT INTO net._http_response (id, error_msg) SELECT b.request_id, '$quoted' FROM wee5_cron.pg_net_request b WHERE b.invocation_id = $id; COMMIT");
    $node->as_owner('SELECT wee5_cron.harvest()');
    my $row = $node->invocation('postgres', $id);
    is($row->{status}, 'failed', "an answer \"$words\" is a failure");
    can_be_followed($row->{hint} // '', "... $row->{reason}");
}
can_be_followed($_->{hint}, "doctor(): $_->{check_name}") for grep { defined $_->{hint} } $doctor->lines;
$node->log_is_sane;
done_testing();
