-- Schedules in words.
\set SHOW_CONTEXT never
CREATE EXTENSION wee5_cron;
SELECT schedule, wee5_cron.describe_schedule(schedule)
FROM unnest(array[
  '* * * * *', '*/5 * * * *', '*/7 * * * *', '0 * * * *', '5 * * * *', '5,20,35 * * * *', '0-4 * * * *', '@hourly',
  '15 3 * * *', '@daily', '@weekly', '@monthly', '@reboot',
  '0 9,17 * * *', '0,30 9-11 * * *', '0 */6 * * *', '10 */6 * * *', '0 */5 * * *', '0 9-17 * * *', '*/15 9-17 * * *',
  '* 9-17 * * *', '*/15 8,12,16 * * *', '1,2,3,7 8-20 * * *', '1,2,3,7 1,5,9 * * *',
  '0 9 * * 1-5', '0 9 * * mon-fri', '0 9 * * 6,0', '0 9 * * 7', '0 9 * * 0-7', '*/5 * * * sat', '0 9 * * 1,3,5',
  '0 0 1 * *', '0 0 1,15 * *', '0 0 1-7 * *', '0 0 1 1,7 *', '0 0 1 jan-mar *', '*/10 * * 12 *',
  '0 0 1 * 1', '0 0 */2 * 1', '0 0 * * */2', '0 0 1-31 * 1', '0 0 1-7 6 1', E'  0\t9   *  * 1 ',
  '0 0 30 2 *', '59 23 31 12 7']) AS schedule;
SELECT wee5_cron.describe_schedule(NULL) IS NULL;

SELECT wee5_cron.describe_schedule('* * * *');
\echo :LAST_ERROR_SQLSTATE
SELECT wee5_cron.describe_schedule('61 * * * *');
SELECT wee5_cron.describe_schedule('');

CREATE ROLE regress_reader;
SET ROLE regress_reader;
SELECT wee5_cron.describe_schedule('0 9 * * 1-5');
RESET ROLE;
SELECT wee5_cron.grant_to('regress_reader', 'read');
SET ROLE regress_reader;
SELECT wee5_cron.describe_schedule('0 9 * * 1-5');
RESET ROLE;
DROP EXTENSION wee5_cron;
DROP ROLE regress_reader;
