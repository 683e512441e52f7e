# docs/ and the catalogue agree: functions with their arguments, tables and views with their columns, settings with their
# defaults, checks of doctor(). So do the types of the npm package.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $docs = "$FindBin::RealBin/../../docs";
my ($functions, $configuration, $doctor) = map { slurp_file("$docs/$_.md") } qw(functions configuration doctor);

# The part of a page below a heading, up to the next one of that level.
sub under {
    my ($page, $heading) = @_;
    my ($level) = $heading =~ /^(#+) /;
    my ($text)  = $page =~ /^\Q$heading\E\n(.*?)(?=^#{1,@{[ length $level ]}} |\z)/ms;
    die "there is no heading \"$heading\"\n" unless defined $text;
    return $text;
}

# The rows of its tables whose first cell is code, as [ that code, the cells after it ].
sub rows_of {
    my ($text) = @_;
    return map { [ split / \| / ] } map { /^\| `([^`]+)`( \| .*) \|$/ ? "$1$2" : () } split /\n/, $text;
}

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

sub lines {
    my ($sql) = @_;
    return [ split /\n/, $node->safe_psql('postgres', $sql) ];
}

# --- the npm package ---------------------------------------------------------------------------------------------

my $package = "$FindBin::RealBin/../../packages/wee5-cron";
is($node->safe_psql('postgres', slurp_file("$package/catalogue.sql")), slurp_file("$package/src/catalogue.ts") =~ s/\n\z//r,
    'the types of the npm package, and the functions that it calls through a Data API, are those of the catalogue');

# Each list of what expose_api() creates names the same functions.
my $exposed = lines('SELECT name FROM wee5_cron.api_functions() ORDER BY name COLLATE "C"');
sub names_in { my ($text) = @_; return [ sort map { s/([A-Z])/_\l$1/gr } $text =~ /\b([a-z]\w*)\b/g ] }
my ($comment) = $node->safe_psql('postgres', "SELECT obj_description('wee5_cron.expose_api(name,regrole)'::regprocedure)") =~ /supabase-js calls: (.*?)\. The role/s;
is_deeply(names_in($comment), $exposed, 'the comment of expose_api() names what it creates');
my ($listed) = slurp_file("$package/README.md") =~ /^With `fromSupabase\(\)`, the client has (.*?)\.$/ms;
is_deeply([ grep { $_ ne 'and' } @{ names_in($listed) } ], $exposed, '... and so does the README of the npm package');
my ($section) = $functions =~ /^### expose_api\n(.*?)^### /ms;
is_deeply([ grep { my $name = $_; $section !~ /`\Q$name\E[`(]/ } @$exposed ], [], '... and so does its reference');

# --- functions ---------------------------------------------------------------------------------------------------

my @documented = map { s/^CALL (.*)$/$1/r } $functions =~ /^`((?:CALL )?[\w.]+\(.*\)(?: → .+)?)`$/mg;
my $existing = lines(<<'SQL');
SELECT CASE WHEN p.pronamespace = 'wee5_cron'::regnamespace THEN 'wee5_cron.' ELSE '' END || p.proname || '('
       -- As people write defaults: "= 5", "= '00:01:00'".
       || regexp_replace(regexp_replace(pg_get_function_arguments(p.oid), '^IN ', ''),
                         ' DEFAULT ((''[^'']*''|[^:,]+))(::[a-z ]+)?', ' = \1', 'g')
       || ')' || coalesce(' → ' || pg_get_function_result(p.oid), '')
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'wee5_cron'
WHERE obj_description(p.oid, 'pg_proc') !~ '^Internal'
SQL
is_deeply([ sort @documented ], [ sort @$existing ], 'every function is documented with its arguments, and no other is');
is_deeply([ grep { /^### \w+$/ } split /\n/, $functions ], [ map { '### ' . s/^(?:wee5_cron\.)?(\w+)\(.*$/$1/r } @documented ],
    '... and each under its own name');

# --- tables and views --------------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{CREATE ROLE reader; SELECT wee5_cron.grant_to('reader', 'read')});
my $open = 'has_table_privilege(\'reader\', c.oid, \'SELECT\')';
my $relations = "pg_class c WHERE c.relnamespace = 'wee5_cron'::regnamespace AND c.relkind IN ('r', 'v')";
my $reference = under($functions, '## Tables and views');
my @sections  = $reference =~ /^### (wee5_cron\.\w+)$/mg;
is_deeply([ sort @sections ], lines("SELECT c.oid::regclass::text FROM $relations AND $open ORDER BY 1"),
    'every table and view that the profile read may read is documented, and no other is');
for my $relation (@sections) {
    is_deeply([ map { "$_->[0] $_->[1]" } rows_of(under($reference, "### $relation")) ], lines(<<SQL), "$relation: the documented columns, types and order are those of the catalogue");
SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
WHERE a.attrelid = '$relation'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
SQL
}
my @internal = under($reference, '### Internal tables') =~ /`(wee5_cron\.\w+)`/g;
is_deeply([ sort @internal ],
    lines("SELECT c.oid::regclass::text FROM $relations AND NOT $open ORDER BY 1"), '... and all other tables are listed as internal');

# --- settings ----------------------------------------------------------------------------------------------------

my @settings = rows_of(under($configuration, '## Every setting'));
my %is_documented = map { $_->[0] => 1 } @settings;
my $known = lines(q{SELECT s.name FROM pg_settings s WHERE s.name LIKE 'wee5_cron.%' OR s.name LIKE 'app.settings.%' ORDER BY 1});
is_deeply([ grep { !$is_documented{$_} } @$known ], [], 'every setting is documented');
for (@settings) {
    my ($name, $default) = @$_;
    # A secret is in no list of settings, and a setting that nothing defines cannot be shown.
    is($node->psql('postgres', "SHOW $name"), 0, "the documented setting $name exists");
    next unless $default =~ /^`(.*)`$/;
    my $written = $1;
    my ($boot_value, $may_be_set) = split /\|/,
        $node->safe_psql('postgres', "SELECT s.boot_val, s.context = 'superuser' FROM pg_settings s WHERE s.name = '$name'");
    # The server converts units.
    my $read = $may_be_set eq 't'
        ? $node->safe_psql('postgres', "SET $name = '$written'; SELECT s.setting FROM pg_settings s WHERE s.name = '$name'")
        : $written;
    is($read, $boot_value, "$name: the documented default $written is the server's");
}

# --- the doctor --------------------------------------------------------------------------------------------------

my %seen;
is_deeply([ map { $_->[0] } rows_of(under($doctor, '## The checks')) ],
    [ grep { !$seen{$_}++ } @{ lines('SELECT check_name FROM wee5_cron.doctor()') } ], "every check of doctor() is documented, in doctor()'s order");

done_testing();
