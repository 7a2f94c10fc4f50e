; The Windows installer of the frozen app, for one user, without an administrator's rights.
; makensis -DVERSION=0.1.0 -DAPP=dist\gogrid -DICON=build\icons\gogrid.ico -DOUT=dist\GoGrid-Worker-0.1.0.exe gogrid.nsi
Unicode true
!include MUI2.nsh
Name "GoGrid Worker"
OutFile "${OUT}"
InstallDir "$LOCALAPPDATA\Programs\GoGrid Worker"
InstallDirRegKey HKCU "Software\GoGrid Worker" "Folder"
RequestExecutionLevel user
SetCompressor /SOLID lzma
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\GoGrid Worker"
!define RUN "Software\Microsoft\Windows\CurrentVersion\Run"
!define MUI_ICON "${ICON}"
!define MUI_FINISHPAGE_RUN "$INSTDIR\gogrid-worker.exe"
!insertmacro MUI_PAGE_WELCOME
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_COMPONENTS
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

Section "GoGrid Worker" SecApp
  SectionIn RO
  ; Programs that run cannot be replaced; asked to end, the worker gives its jobs back first.
  nsExec::Exec 'taskkill /IM gogrid-worker.exe'
  Sleep 1000
  RMDir /r "$INSTDIR\_internal"
  SetOutPath "$INSTDIR"
  File /r "${APP}\*.*"
  File "/oname=gogrid.ico" "${ICON}"
  CreateShortcut "$SMPROGRAMS\GoGrid Worker.lnk" "$INSTDIR\gogrid-worker.exe" "" "$INSTDIR\gogrid.ico"
  WriteRegStr HKCU "Software\GoGrid Worker" "Folder" "$INSTDIR"
  WriteRegStr HKCU "Software\Classes\gogrid" "" "URL:Join a GoGrid coordinator"
  WriteRegStr HKCU "Software\Classes\gogrid" "URL Protocol" ""
  WriteRegStr HKCU "Software\Classes\gogrid\shell\open\command" "" '"$INSTDIR\gogrid-worker.exe" join "%1"'
  WriteRegStr HKCU "${KEY}" "DisplayName" "GoGrid Worker"
  WriteRegStr HKCU "${KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${KEY}" "DisplayIcon" "$INSTDIR\gogrid.ico"
  WriteRegStr HKCU "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${KEY}" "NoModify" 1
  WriteRegDWORD HKCU "${KEY}" "NoRepair" 1
  WriteUninstaller "$INSTDIR\uninstall.exe"
SectionEnd

; Off unless its owner ticks it; an update never asks and never changes it.
Section /o "Start at login" SecLogin
  WriteRegStr HKCU "${RUN}" "GoGrid Worker" '"$INSTDIR\gogrid-worker.exe"'
SectionEnd

Section "Uninstall"
  nsExec::Exec 'taskkill /IM gogrid-worker.exe'
  Sleep 1000
  nsExec::Exec 'taskkill /F /IM gogrid-worker.exe'
  DeleteRegValue HKCU "${RUN}" "GoGrid Worker"
  DeleteRegKey HKCU "Software\Classes\gogrid"
  DeleteRegKey HKCU "Software\GoGrid Worker"
  DeleteRegKey HKCU "${KEY}"
  Delete "$SMPROGRAMS\GoGrid Worker.lnk"
  RMDir /r "$INSTDIR\_internal"
  Delete "$INSTDIR\gogrid*.exe"
  Delete "$INSTDIR\gogrid.ico"
  Delete "$INSTDIR\copy.json"
  Delete "$INSTDIR\root-keys.json"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  ; Settings and models below %APPDATA% and %LOCALAPPDATA%\GoGrid Worker are their owner's and stay.
SectionEnd
