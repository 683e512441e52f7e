# `make` names the missing package, and installs into the directory that a packager wants.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Cwd qw(realpath);
use File::Compare qw(compare);
use File::Find ();

# A directory without sources: make only builds the stamp, which checks the requirements.
my $tree     = PostgreSQL::Test::Utils::tempdir();
my $makefile = realpath("$FindBin::RealBin/../../Makefile");
mkdir "$tree/$_" or die $! for qw(bin headers);

my ($bindir) = qx(pg_config --bindir) =~ /(.+)/;
my $pg_config = "$bindir/pg_config";
my ($version) = qx($pg_config --version) =~ /PostgreSQL (\d+)/;

# A path with the tools that make itself needs, and no compiler.
my @tools = qw(sh cat echo make mkdir rm sed test);
for my $tool (@tools) {
    my ($found) = grep { -x } map { "$_/$tool" } split /:/, $ENV{PATH};
    symlink $found, "$tree/bin/$tool" or die "$tool: $!" if $found;
}

sub script {
    my ($name, $text) = @_;
    PostgreSQL::Test::Utils::append_to_file("$tree/$name", "#!/bin/sh\n$text\n");
    chmod 0755, "$tree/$name" or die $!;
    return "$tree/$name";
}

sub make {
    my (@arguments) = @_;
    my ($out, $err) = ('', '');
    local $ENV{MAKEFLAGS} = '';
    IPC::Run::run([ 'make', '-C', $tree, '-f', $makefile, "PG_CONFIG=$pg_config", @arguments, 'build-stamp' ], '>', \$out, '2>', \$err);
    return ($? >> 8, $err);
}

sub names {
    my ($missing, $arguments, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $errors) = make(@$arguments);
    is($status, 2, $name);
    like($errors, $missing, '... is reported with what to install');
    ok(!-e "$tree/build-stamp", '... and nothing is compiled');
    return;
}

my ($status, $errors) = make();
is($status, 0, 'make finds nothing missing') or diag $errors;
ok(unlink("$tree/build-stamp"), '... and goes on to compile');

names(qr/PG_CONFIG=$tree\/nowhere names no PostgreSQL that extensions can be built for\. Install postgresql-server-dev-/,
    ["PG_CONFIG=$tree/nowhere"], 'a pg_config that does not exist');
names(qr/names no PostgreSQL that extensions can be built for/,
    [ 'PG_CONFIG=' . script('broken_config', 'echo "a library is missing" >&2; exit 127') ], 'a pg_config that does not run');
names(qr/names no PostgreSQL that extensions can be built for/,
    [ 'PG_CONFIG=' . script('bare_config', "test \"\$1\" = --pgxs && echo $tree/nowhere/pgxs.mk || exec $pg_config \"\$@\"") ], 'a server without PGXS');
{
    local $ENV{PATH} = "$tree/bin";
    names(qr/wee5_cron needs a C\+\+20 compiler, and "[^"]+" does not run\. Debian: apt-get install g\+\+\./, ['CXX=g++'], 'a path without a compiler');
}
names(qr/"$tree\/nowhere\/g\+\+" does not run/, ["CXX=$tree/nowhere/g++"], 'a compiler that does not exist');
names(qr/wee5_cron needs the headers of the PostgreSQL server, and $tree\/headers has no postgres\.h\. Debian: apt-get install postgresql-server-dev-$version$/m,
    [ 'PG_CONFIG=' . script('no_headers', "test \"\$1\" = --includedir-server && echo $tree/headers || exec $pg_config \"\$@\"") ], 'a server without headers');
names(qr/wee5_cron needs the headers of libcurl, 7\.87 or newer\. Debian: apt-get install libcurl4-openssl-dev$/m,
    ['CXX=g++ -nostdinc'], 'a compiler that finds no headers of libcurl');

# What make itself cannot do.
mkdir "$tree/with space" or die $!;
symlink $pg_config, "$tree/with space/pg_config" or die $!;
names(qr/PG_CONFIG=$tree\/with space\/pg_config names no PostgreSQL .*\. make cannot handle a space in that path\./,
    ["PG_CONFIG=$tree/with space/pg_config"], 'a path with a space');

# A library with a libcurl of its own.
names(qr/WEE5_CURL=dynamic is not possible: the one value is static\./, ['WEE5_CURL=dynamic'], 'an unknown value of WEE5_CURL');
names(qr/wee5_cron needs a static libcurl, and "$tree\/nowhere" names none\. packaging\/build_libcurl builds one$/m,
    [ 'WEE5_CURL=static', "CURL_CONFIG=$tree/nowhere" ], 'a curl-config that does not exist');
names(qr/wee5_cron needs a static libcurl, and "$tree\/shared_only" names none\./,
    [ 'WEE5_CURL=static', 'CURL_CONFIG=' . script('shared_only', "echo $tree/headers") ], 'a libcurl that is not static');
mkdir "$tree/$_" or die $! for qw(curl curl/lib);
append_to_file("$tree/curl/lib/libcurl.a", '');
names(qr/wee5_cron needs a static libcrypto\.a\. Debian: apt-get install libssl-dev zlib1g-dev$/m,
    [ 'WEE5_CURL=static', 'CURL_CONFIG=' . script('curl-config', "echo $tree/curl"),
      'CXX=' . script('no_libcrypto', 'case $1 in -print-file-name=libcrypto.a) echo libcrypto.a;; -print-file-name=*) echo /there;; *) exec g++ "$@";; esac') ],
    'a compiler that finds no static libcrypto');

# This tree, which is built.
my $sources = realpath("$FindBin::RealBin/../..");

sub make_target {
    my ($directory, @arguments) = @_;
    my ($out, $err) = ('', '');
    local $ENV{MAKEFLAGS} = '';
    my $passed = IPC::Run::run([ 'make', '-C', $directory, '-f', "$sources/Makefile", @arguments ], '>', \$out, '2>', \$err);
    diag $out, $err unless $passed;
    return $passed;
}

sub files_under {
    my ($directory) = @_;
    my @files;
    File::Find::find(sub { push @files, $File::Find::name =~ s/^\Q$directory\E//r if -f }, $directory);
    return [ sort @files ];
}

# Files and directories that somebody may not read.
sub private_under {
    my ($directory) = @_;
    my @private;
    File::Find::find(sub { my $all = -d $_ ? 0555 : 0444; push @private, $File::Find::name if ((stat)[2] & $all) != $all }, $directory);
    return \@private;
}

my $staged    = "$tree/staged files";
my ($library) = qx($pg_config --pkglibdir) =~ /(.+)/;
my ($share)   = qx($pg_config --sharedir) =~ /(.+)/;

# By a user whose files nobody else may read.
sub install {
    my $umask = umask 077;
    my $passed = make_target($sources, "PG_CONFIG=$pg_config", "DESTDIR=$staged", 'install');
    umask $umask;
    return $passed;
}

ok(install(), 'make install with DESTDIR succeeds');
ok(install(), '... and a second time');
is_deeply(
    files_under($staged),
    [ sort "$library/wee5_cron.so", map { "$share/extension/wee5_cron$_" } '.control', '--0.1.0.sql', '--0.1.0--0.2.0.sql', '--0.2.0.sql' ],
    '... and installs the library and the files of the extension');
is_deeply(private_under($staged), [], '... for everybody to read, and their directories');
ok(make_target($sources, "PG_CONFIG=$pg_config", "DESTDIR=$staged", 'uninstall'), 'make uninstall succeeds');
is_deeply(files_under($staged), [], '... and removes all of them');

mkdir "$tree/elsewhere" or die $!;
ok(make_target("$tree/elsewhere", "PG_CONFIG=$tree/nowhere", 'portable'), 'make portable works in another directory, without a server');
is(compare("$tree/elsewhere/sql/wee5_cron--portable.sql", "$sources/sql/wee5_cron--portable.sql"), 0, '... and writes the same file');

my $link = "$tree/with space/sources";
symlink $sources, $link or die $!;
my $said = '';
IPC::Run::run([ 'make', '-C', "$tree/elsewhere", '-f', "$link/Makefile", 'portable' ], '>', \$said, '2>&1');
like($said, qr/make cannot handle a space in the path of the sources, $link\/Makefile\. Run make in their directory\./, 'in a path with a space, only a build in another directory fails');

done_testing();
