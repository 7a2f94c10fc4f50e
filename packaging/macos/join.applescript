-- Contents/Helpers/Join GoGrid.app: macOS hands a link to a program as an event, which a Python program does not hear.
-- A link on a web page must not lend this machine to a stranger, so its owner is asked.
on open location link
	set worker to (POSIX path of (path to me)) & "/../../MacOS/gogrid-worker"
	activate
	display dialog "Join the GoGrid coordinator that this link is from? This computer's idle GPU will work for it." buttons {"Cancel", "Join"} default button "Cancel" cancel button "Cancel" with title "GoGrid Worker"
	try
		set told to do shell script quoted form of worker & " join " & quoted form of link & " 2>&1"
		display dialog told buttons {"OK"} default button "OK" with title "GoGrid Worker"
	on error told
		display alert "GoGrid Worker" message told
	end try
end open location
