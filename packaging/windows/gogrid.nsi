; The Windows installer of the frozen app: for one user, without an administrator's rights. packaging/windows/installer.py
; gives VERSION, NUMBERS (VERSION as four numbers), APP (the frozen app), ICON and OUT.
;   Setup.exe    [/S] [/LOGIN] [/D=FOLDER]   /S: without a question; /LOGIN: also start at login
;   uninstall.exe [/S] [/FORGET]              /FORGET: also settings, identity, models and engines
; Run over an older one, it unpacks beside it, asks what runs to end, exchanges the two, and, with /S, starts it again.
Target amd64-unicode
!include MUI2.nsh
!include FileFunc.nsh
!include LogicLib.nsh
Name "GoGrid Worker"
OutFile "${OUT}"
InstallDir "$LOCALAPPDATA\Programs\GoGrid Worker"
InstallDirRegKey HKCU "Software\GoGrid Worker" "Folder"
RequestExecutionLevel user
SetCompressor /SOLID lzma
AllowSkipFiles off
SetDateSave off
VIProductVersion "${NUMBERS}"
VIAddVersionKey "ProductName" "GoGrid Worker"
VIAddVersionKey "FileDescription" "GoGrid Worker Setup"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "LegalCopyright" "GoGrid; MIT licence"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\GoGrid Worker"
!define RUN "Software\Microsoft\Windows\CurrentVersion\Run"
!define APPROVED "Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run"
!define CLASS "Software\Classes\gogrid"
!define DATA "$LOCALAPPDATA\GoGrid Worker"
!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_FINISHPAGE_RUN "$INSTDIR\gogrid-app.exe"
!insertmacro MUI_PAGE_WELCOME
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_COMPONENTS
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_COMPONENTS
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

Var Ran

; Both programs end what runs before they touch it: the installed one is asked, as its own Quit does, so that jobs go on
; elsewhere; whatever then still runs from our folders is terminated. $Ran: 1 if a worker was there and has ended.
!macro EndPrograms un
Function ${un}EndPrograms
  StrCpy $Ran 0
  ${If} ${FileExists} "$INSTDIR\gogrid-worker.exe"
    nsExec::Exec /TIMEOUT=90000 '"$INSTDIR\gogrid-worker.exe" quit'
    Pop $0
    ${If} $0 == "0"
      StrCpy $Ran 1
    ${EndIf}
  ${EndIf}
  ${ForEach} $8 1 20 + 1
    ; The one that was asked needs a moment to vanish behind its last word.
    StrCpy $9 0
    Push "$INSTDIR\"
    Call ${un}EndThoseBelow
    Push "${DATA}\app\versions\"
    Call ${un}EndThoseBelow
    ${If} $9 == 0
      ${Break}
    ${EndIf}
    Sleep 250
  ${Next}
FunctionEnd

; Of processes whose program lies below the folder on the stack: counted in $9; from the fifth look ($8) on, terminated.
Function ${un}EndThoseBelow
  Pop $1
  StrLen $2 $1
  System::Call 'kernel32::GetCurrentProcessId() i .r7'
  System::Call 'kernel32::CreateToolhelp32Snapshot(i 2, i 0) p .r3'
  ; PROCESSENTRY32W: 568 bytes; the process id is its third number, and those before it are 4 bytes, too.
  System::Alloc 568
  Pop $4
  System::Call '*$4(i 568)'
  System::Call 'kernel32::Process32FirstW(p r3, p r4) i .r0'
  ${DoWhile} $0 != 0
    System::Call '*$4(i, i, i .r5)'
    ${If} $5 != $7
      ; PROCESS_TERMINATE, PROCESS_QUERY_LIMITED_INFORMATION, SYNCHRONIZE
      System::Call 'kernel32::OpenProcess(i 0x101001, i 0, i r5) p .r6'
      ${If} $6 != 0
        System::Call 'kernel32::QueryFullProcessImageNameW(p r6, i 0, w .r5, *i 1024) i .r0'
        ${If} $0 != 0
          StrCpy $5 $5 $2
          ${If} $5 == $1
            IntOp $9 $9 + 1
            ${If} $8 > 4
              System::Call 'kernel32::TerminateProcess(p r6, i 1)'
              System::Call 'kernel32::WaitForSingleObject(p r6, i 5000)'
            ${EndIf}
          ${EndIf}
        ${EndIf}
        System::Call 'kernel32::CloseHandle(p r6)'
      ${EndIf}
    ${EndIf}
    System::Call 'kernel32::Process32NextW(p r3, p r4) i .r0'
  ${Loop}
  System::Call 'kernel32::CloseHandle(p r3)'
  System::Free $4
FunctionEnd

; Only what we have put there: the folder may hold other things, too.
Function ${un}RemovePrograms
  RMDir /r "$INSTDIR\_internal"
  Delete "$INSTDIR\gogrid.exe"
  Delete "$INSTDIR\gogrid-app.exe"
  Delete "$INSTDIR\gogrid-icon.exe"
  Delete "$INSTDIR\gogrid-runner.exe"
  Delete "$INSTDIR\gogrid-window.exe"
  Delete "$INSTDIR\gogrid-worker.exe"
  Delete "$INSTDIR\copy.json"
  Delete "$INSTDIR\root-keys.json"
FunctionEnd
!macroend
!insertmacro EndPrograms ""
!insertmacro EndPrograms "un."

Function .onInstFailed
  RMDir /r "$INSTDIR\incoming"
FunctionEnd

Section "GoGrid Worker" SecApp
  SectionIn RO
  ; What runs goes on until all files are there.
  RMDir /r "$INSTDIR\incoming"
  SetOutPath "$INSTDIR\incoming"
  ClearErrors
  File /r "${APP}/*"
  ${If} ${Errors}
    SetErrorLevel 2
    Abort "The files cannot be written to $INSTDIR; what was installed is as it was."
  ${EndIf}
  SetOutPath "$INSTDIR"
  Call EndPrograms
  Call RemovePrograms
  ${If} ${FileExists} "$INSTDIR\_internal\*.*"
  ${OrIf} ${FileExists} "$INSTDIR\gogrid-worker.exe"
    SetErrorLevel 2
    Abort "Another program uses files in $INSTDIR. Close it and run this again."
  ${EndIf}
  ClearErrors
  FindFirst $0 $1 "$INSTDIR\incoming\*"
  ${DoWhile} $1 != ""
    ${If} $1 != "."
    ${AndIf} $1 != ".."
      Rename "$INSTDIR\incoming\$1" "$INSTDIR\$1"
    ${EndIf}
    FindNext $0 $1
  ${Loop}
  FindClose $0
  ${IfNot} ${FileExists} "$INSTDIR\gogrid-worker.exe"
  ${OrIfNot} ${FileExists} "$INSTDIR\_internal\*.*"
    SetErrorLevel 2
    Abort "The files cannot be put in their places in $INSTDIR. Run this again."
  ${EndIf}
  RMDir "$INSTDIR\incoming"
  File "/oname=gogrid.ico" "${ICON}"
  CreateShortcut "$SMPROGRAMS\GoGrid Worker.lnk" "$INSTDIR\gogrid-app.exe" "" "$INSTDIR\gogrid.ico"
  WriteRegStr HKCU "Software\GoGrid Worker" "Folder" "$INSTDIR"
  WriteRegStr HKCU "${CLASS}" "" "URL:Join a GoGrid coordinator"
  WriteRegStr HKCU "${CLASS}" "URL Protocol" ""
  WriteRegStr HKCU "${CLASS}\DefaultIcon" "" "$INSTDIR\gogrid.ico"
  WriteRegStr HKCU "${CLASS}\shell\open\command" "" '"$INSTDIR\gogrid-worker.exe" join --ask "%1"'
  WriteRegStr HKCU "${KEY}" "DisplayName" "GoGrid Worker"
  WriteRegStr HKCU "${KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${KEY}" "DisplayIcon" "$INSTDIR\gogrid.ico"
  WriteRegStr HKCU "${KEY}" "Publisher" "GoGrid"
  WriteRegStr HKCU "${KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${KEY}" "NoModify" 1
  WriteRegDWORD HKCU "${KEY}" "NoRepair" 1
  ${GetSize} "$INSTDIR" "/S=0K" $0 $1 $2
  WriteRegDWORD HKCU "${KEY}" "EstimatedSize" "$0"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  ${If} ${Silent}
  ${AndIf} $Ran == 1
    Exec '"$INSTDIR\gogrid-app.exe"'
  ${EndIf}
SectionEnd

; Off unless its owner ticks it; installed over an older one, it is never switched off here.
Section /o "Start at login" SecLogin
  WriteRegStr HKCU "${RUN}" "GoGrid Worker" '"$INSTDIR\gogrid-app.exe"'
SectionEnd

Function .onInit
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/LOGIN" $1
  ${IfNot} ${Errors}
    SectionSetFlags ${SecLogin} ${SF_SELECTED}
  ${EndIf}
FunctionEnd

Section "un.GoGrid Worker" UnApp
  SectionIn RO
  Call un.EndPrograms
  DeleteRegValue HKCU "${RUN}" "GoGrid Worker"
  DeleteRegValue HKCU "${APPROVED}" "GoGrid Worker"
  DeleteRegKey HKCU "${CLASS}"
  DeleteRegKey HKCU "Software\GoGrid Worker"
  Delete "$SMPROGRAMS\GoGrid Worker.lnk"
  Call un.RemovePrograms
  RMDir /r "$INSTDIR\incoming"
  Delete "$INSTDIR\gogrid.ico"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  ; Programs that updates have fetched go, too; everything else below these two folders is its owner's and stays.
  RMDir /r "${DATA}\app\versions"
  RMDir /r "${DATA}\app\downloads"
  DeleteRegKey HKCU "${KEY}"
SectionEnd

Section /o "un.Settings, identity, models and engines" UnForget
  RMDir /r "${DATA}"
  RMDir /r "$APPDATA\GoGrid Worker"
SectionEnd

Function un.onInit
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/FORGET" $1
  ${IfNot} ${Errors}
    SectionSetFlags ${UnForget} ${SF_SELECTED}
  ${EndIf}
FunctionEnd
